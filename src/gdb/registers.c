#include "gdb/registers.h"

#include <string.h>

#include "base/bits.h"

#define X(n) "<reg name=\"x" #n "\" bitsize=\"64\"/>"
#define V(n) "<reg name=\"v" #n "\" bitsize=\"128\" type=\"aarch64v\"/>"

/* Names and types as gdb's own features/aarch64-core.xml and aarch64-fpu.xml have them: it looks for these. */
const char lp_gdb_target_xml[] =
	"<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target>"
	"<architecture>aarch64</architecture><osabi>GNU/Linux</osabi>"
	"<feature name=\"org.gnu.gdb.aarch64.core\">" X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(
		12) X(13) X(14) X(15) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28)
		X(29) X(30) "<reg name=\"sp\" bitsize=\"64\" type=\"data_ptr\"/>"
			    "<reg name=\"pc\" bitsize=\"64\" type=\"code_ptr\"/>"
			    "<flags id=\"cpsr_flags\" size=\"4\">"
			    "<field name=\"V\" start=\"28\" end=\"28\"/><field name=\"C\" start=\"29\" end=\"29\"/>"
			    "<field name=\"Z\" start=\"30\" end=\"30\"/><field name=\"N\" start=\"31\" "
			    "end=\"31\"/></flags>"
			    "<reg name=\"cpsr\" bitsize=\"32\" type=\"cpsr_flags\"/></feature>"
			    "<feature name=\"org.gnu.gdb.aarch64.fpu\">"
			    "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/><vector id=\"v2u\" type=\"uint64\" "
			    "count=\"2\"/>"
			    "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/><vector id=\"v4u\" type=\"uint32\" "
			    "count=\"4\"/>"
			    "<vector id=\"v8u\" type=\"uint16\" count=\"8\"/><vector id=\"v16u\" type=\"uint8\" "
			    "count=\"16\"/>"
			    "<union id=\"vnd\"><field name=\"f\" type=\"v2d\"/><field name=\"u\" type=\"v2u\"/></union>"
			    "<union id=\"vns\"><field name=\"f\" type=\"v4f\"/><field name=\"u\" type=\"v4u\"/></union>"
			    "<union id=\"vnh\"><field name=\"u\" type=\"v8u\"/></union>"
			    "<union id=\"vnb\"><field name=\"u\" type=\"v16u\"/></union>"
			    "<vector id=\"v1q\" type=\"uint128\" count=\"1\"/><union id=\"vnq\"><field name=\"u\" "
			    "type=\"v1q\"/></union>"
			    "<union id=\"aarch64v\"><field name=\"d\" type=\"vnd\"/><field name=\"s\" type=\"vns\"/>"
			    "<field name=\"h\" type=\"vnh\"/><field name=\"b\" type=\"vnb\"/><field name=\"q\" "
			    "type=\"vnq\"/></union>" V(0) V(1) V(2) V(3) V(4) V(5) V(6) V(7) V(8) V(9) V(10) V(11) V(12)
				    V(13) V(14) V(15) V(16) V(17) V(18) V(19) V(20) V(21) V(22) V(23) V(24) V(25) V(26)
					    V(27) V(28) V(29) V(30) V(31) "<reg name=\"fpsr\" bitsize=\"32\"/><reg "
									  "name=\"fpcr\" bitsize=\"32\"/></feature>"
									  "<feature name=\"org.gnu.gdb.aarch64.tls\">"
									  "<reg name=\"tpidr\" bitsize=\"64\" "
									  "type=\"data_ptr\"/></feature></target>";

size_t lp_gdb_register_read(const struct lp_cpu *cpu, unsigned nr, uint8_t out[16])
{
	if (nr <= LP_GDB_SP) {
		lp_put64(out, cpu->x[nr]);
		return 8;
	}
	if (nr >= LP_GDB_V0 && nr < LP_GDB_FPSR) {
		memcpy(out, &cpu->vr[nr - LP_GDB_V0], 16);
		return 16;
	}
	switch (nr) {
	case LP_GDB_PC:
		lp_put64(out, cpu->pc);
		return 8;
	case LP_GDB_CPSR:
		lp_put32(out, lp_cpu_nzcv(cpu));
		return 4;
	case LP_GDB_FPSR:
		lp_put32(out, cpu->fpsr);
		return 4;
	case LP_GDB_FPCR:
		lp_put32(out, cpu->fpcr);
		return 4;
	case LP_GDB_TPIDR:
		lp_put64(out, cpu->tpidr);
		return 8;
	default:
		return 0;
	}
}

bool lp_gdb_register_write(struct lp_cpu *cpu, unsigned nr, const uint8_t *bytes, size_t len)
{
	uint8_t now[16];

	if (nr == LP_GDB_FPCR || nr == LP_GDB_FPSR || len == 0 || len != lp_gdb_register_read(cpu, nr, now))
		return false; /* those two are half in the host's MXCSR, which is the thread's own */
	if (nr <= LP_GDB_SP)
		cpu->x[nr] = lp_get64(bytes);
	else if (nr >= LP_GDB_V0 && nr < LP_GDB_FPSR)
		memcpy(&cpu->vr[nr - LP_GDB_V0], bytes, 16);
	else if (nr == LP_GDB_PC)
		cpu->pc = lp_get64(bytes);
	else if (nr == LP_GDB_CPSR)
		lp_cpu_set_nzcv(cpu, lp_get32(bytes));
	else
		cpu->tpidr = lp_get64(bytes);
	return true;
}
