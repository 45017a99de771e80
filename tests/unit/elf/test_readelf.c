/*
 * Every symbol, version, relocation, needed library and build-id of real files
 * is what readelf says it is; and what the section headers told is found
 * without them too.
 */
#include "fixture.h"

#include <stdlib.h>
#include <unistd.h>

static const char *const files[] = {
	"/bin/ls",
	"/lib/x86_64-linux-gnu/libc.so.6",
	"/lib64/ld-linux-x86-64.so.2",
	"/usr/bin/redis-server",
	"/usr/sbin/nginx",
	"/usr/bin/python3",
	"/usr/bin/gdb",
	"/lib/x86_64-linux-gnu/libstdc++.so.6",
	"/usr/aarch64-linux-gnu/lib/libc.so.6",
	"/proc/self/exe",
	"static-pie", /* these are linked here */
	"lld",
	"clang",
};

static int compile(void **state)
{
	write_text("main.c",
		   "#include <stdio.h>\n#include <string.h>\nstatic const char *names[] = {\"a\", \"b\"};\n"
		   "int main(int argc, char **argv) { puts(names[argc & 1]); return (int)strlen(argv[0]); }\n");
	shell("gcc -g -static-pie -o static-pie main.c");
	shell("gcc -g -fuse-ld=lld -Wl,--pack-dyn-relocs=relr -o lld main.c");
	shell("clang -g -rdynamic -Wl,--hash-style=both,-z,pack-relative-relocs -o clang main.c");
	return 0;
}

static const char *path_of(size_t i)
{
	return strchr(files[i], '/') ? files[i] : scratch(files[i]);
}

static const char *type_name(uint8_t type)
{
	static const char *const names[16] = {
		[STT_NOTYPE] = "NOTYPE", [STT_OBJECT] = "OBJECT", [STT_FUNC] = "FUNC", [STT_SECTION] = "SECTION",
		[STT_FILE] = "FILE",	 [STT_COMMON] = "COMMON", [STT_TLS] = "TLS",   [STT_GNU_IFUNC] = "IFUNC",
	};
	return names[type];
}

static const char *bind_name(uint8_t bind)
{
	static const char *const names[16] = {
		[STB_LOCAL] = "LOCAL",
		[STB_GLOBAL] = "GLOBAL",
		[STB_WEAK] = "WEAK",
		[STB_GNU_UNIQUE] = "UNIQUE",
	};
	return names[bind];
}

static const char *visibility_name(uint8_t visibility)
{
	static const char *const names[4] = {"DEFAULT", "INTERNAL", "HIDDEN", "PROTECTED"};
	return names[visibility];
}

/* A name as readelf prints it.  It does not repeat the version of a symbol that is the version, and "@@" is for versions
 * that the file itself defines: a program's copy of a library's variable has a default version, but not its own. */
static void print_name(char *out, size_t size, const struct lp_elf *e, const struct lp_elf_sym *s)
{
	uint64_t verdef;
	bool borrowed = s->table == LP_DYNSYM && !lp_elf_dynamic(e, DT_VERDEF, &verdef);
	bool one = s->version_hidden || s->shndx == SHN_UNDEF || borrowed;
	if (s->version && strcmp(s->version, s->name))
		snprintf(out, size, "%s%s%s", s->name, one ? "@" : "@@", s->version);
	else
		snprintf(out, size, "%s", s->name);
}

static void compare_symbol(const struct lp_elf *e, enum lp_symtab table, const char *line, size_t i)
{
	char value[32], length[32], type[16], bind[16], visibility[16], section[16], ours[4096];
	int name_at = 0;
	struct lp_elf_sym s;
	assert_int_equal(sscanf(line, "%*d: %31s %31s %15s %15s %15s %n%15s", value, length, type, bind, visibility,
				&name_at, section),
			 6);
	if (line[name_at] == '[') { /* "[VARIANT_PCS]" of aarch64 */
		name_at += (int)strcspn(line + name_at, "]") + 1;
		assert_int_equal(sscanf(line + name_at, "%15s", section), 1);
	}
	name_at += (int)strspn(line + name_at, " ");
	name_at += (int)strcspn(line + name_at, " \n");
	name_at += (int)strspn(line + name_at, " ");

	assert_true(lp_elf_symbol(e, table, i, &s));
	assert_int_equal(s.index, i);
	assert_int_equal(s.value, strtoull(value, NULL, 16));
	assert_int_equal(s.size, strtoull(length, NULL, 0));
	assert_string_equal(type_name(s.type), type);
	assert_string_equal(bind_name(s.bind), bind);
	assert_string_equal(visibility_name(s.visibility), visibility);
	if (!strcmp(section, "UND"))
		assert_int_equal(s.shndx, SHN_UNDEF);
	else if (!strcmp(section, "ABS"))
		assert_int_equal(s.shndx, SHN_ABS);
	else
		assert_int_equal(s.shndx, atoi(section));
	if (s.type == STT_SECTION)
		return;
	char *theirs = strdup(line + name_at);
	theirs[strcspn(theirs, " \n")] = 0; /* the version's index in parentheses follows */
	print_name(ours, sizeof ours, e, &s);
	ours[strcspn(ours, " ")] = 0;
	assert_string_equal(ours, theirs);
	free(theirs);
}

static void compare_symbols(const struct lp_elf *e, const char *path)
{
	size_t counts[2] = {0, 0}, i = 0, promised;
	enum lp_symtab table = LP_SYMTAB;
	char *line = NULL, name[32];
	size_t cap = 0;
	FILE *f = shell_output("readelf -sW '%s'", path);
	while (getline(&line, &cap, f) > 0) {
		if (sscanf(line, "Symbol table '%31[^']' contains %zu", name, &promised) == 2) {
			table = strcmp(name, ".dynsym") ? LP_SYMTAB : LP_DYNSYM;
			counts[table] = promised;
			i = 0;
		} else if (strchr(line, ':') && line[strspn(line, " 0123456789")] == ':') {
			compare_symbol(e, table, line, i++);
			assert_true(i <= counts[table]);
		}
	}
	free(line);
	assert_int_equal(pclose(f), 0);
	assert_int_equal(lp_elf_symbol_count(e, LP_SYMTAB), counts[LP_SYMTAB]);
	assert_int_equal(lp_elf_symbol_count(e, LP_DYNSYM), counts[LP_DYNSYM]);
	assert_true(counts[LP_DYNSYM] > 0);
}

typedef LP_VEC(struct lp_elf_rela) rela_vec;

static int by_offset(const void *va, const void *vb)
{
	const struct lp_elf_rela *a = va, *b = vb;
	return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* Sorted: linkers differ in the order of the tables, and readelf goes by sections. */
static rela_vec all_relocs(const struct lp_elf *e)
{
	rela_vec v = {0};
	struct lp_elf_rela_iter it = {0};
	struct lp_elf_rela r;
	struct lp_err err = {0};
	int rc;
	while ((rc = lp_elf_rela_next(e, &it, &r, &err)) == 1)
		lp_vec_push(&v, r);
	if (rc)
		fail_msg("%s", err.text);
	if (v.nr)
		qsort(v.items, v.nr, sizeof *v.items, by_offset);
	return v;
}

/* "offset info type value name + addend", or with type and addend alone, or for RELR just the place. */
static void compare_reloc(const rela_vec *ours, char *line)
{
	struct lp_elf_rela key = {0};
	uint64_t info;
	char expected[64];
	int fields = sscanf(line, "%" SCNx64 " %" SCNx64, &key.offset, &info);
	const struct lp_elf_rela *r = bsearch(&key, ours->items, ours->nr, sizeof key, by_offset);
	if (!r)
		fail_msg("a relocation is missing: %s", line);
	if (fields == 1)
		return;
	assert_int_equal(r->type, ELF64_R_TYPE(info));
	assert_int_equal(r->sym, ELF64_R_SYM(info));
	bool negative = r->addend < 0;
	snprintf(expected, sizeof expected, "%s%" PRIx64, r->sym ? (negative ? "- " : "+ ") : (negative ? "-" : " "),
		 (uint64_t)(negative ? -r->addend : r->addend));
	line[strcspn(line, "\n")] = 0;
	assert_true(strlen(line) > strlen(expected));
	assert_string_equal(line + strlen(line) - strlen(expected), expected);
}

static void compare_relocs(const struct lp_elf *e, const char *path)
{
	rela_vec ours = all_relocs(e);
	char *line = NULL;
	size_t cap = 0, seen = 0;
	FILE *f = shell_output("readelf -rW '%s'", path);
	while (getline(&line, &cap, f) > 0) {
		if (strspn(line, "0123456789abcdef") != 16)
			continue;
		compare_reloc(&ours, line);
		seen++;
	}
	free(line);
	assert_int_equal(pclose(f), 0);
	assert_int_equal(ours.nr, seen);
	lp_vec_free(&ours);
}

static void compare_dynamic(const struct lp_elf *e, const char *path)
{
	char *line = NULL, name[256];
	size_t cap = 0, nr_needed = 0;
	bool has_soname = false;
	FILE *f = shell_output("readelf -dW '%s'", path);
	while (getline(&line, &cap, f) > 0) {
		if (sscanf(line, " %*x (NEEDED) Shared library: [%255[^]]", name) == 1)
			assert_string_equal(lp_elf_needed(e, nr_needed++), name);
		if (sscanf(line, " %*x (SONAME) Library soname: [%255[^]]", name) == 1) {
			has_soname = true;
			assert_string_equal(lp_elf_soname(e), name);
		}
	}
	free(line);
	assert_int_equal(pclose(f), 0);
	assert_null(lp_elf_needed(e, nr_needed));
	assert_int_equal(lp_elf_soname(e) != NULL, has_soname);
}

static void compare_build_id(const struct lp_elf *e, const char *path)
{
	struct lp_build_id id;
	char *line = NULL, theirs[2 * LP_BUILD_ID_MAX + 1] = "", ours[2 * LP_BUILD_ID_MAX + 1];
	size_t cap = 0;
	FILE *f = shell_output("readelf -nW '%s'", path);
	while (getline(&line, &cap, f) > 0) {
		const char *at = strstr(line, "Build ID: ");
		if (at)
			sscanf(at, "Build ID: %128s", theirs);
	}
	free(line);
	assert_int_equal(pclose(f), 0);
	lp_elf_build_id(e, &id);
	lp_build_id_hex(&id, ours);
	assert_string_equal(ours, theirs);
}

static void compare_sections(const struct lp_elf *e, const char *path)
{
	char *line = NULL, name[128];
	size_t cap = 0, seen = 0;
	unsigned i;
	FILE *f = shell_output("readelf -SW '%s'", path);
	while (getline(&line, &cap, f) > 0) {
		if (sscanf(line, " [ %u] %127s", &i, name) != 2 || !i)
			continue;
		assert_string_equal(lp_elf_section_name(e, lp_elf_section(e, i)), name);
		seen++;
	}
	free(line);
	assert_int_equal(pclose(f), 0);
	assert_int_equal(lp_elf_section_count(e), seen + 1);
	assert_null(lp_elf_section(e, seen + 1));
}

static void real_files_are_what_readelf_says(void **state)
{
	size_t compared = 0;
	for (size_t i = 0; i < LP_ARRAY_SIZE(files); i++) {
		char path[4096];
		if (!realpath(path_of(i), path)) {
			print_message("%s is not installed here\n", files[i]);
			continue;
		}
		struct lp_elf *e = open_elf(path);
		compare_symbols(e, path);
		compare_relocs(e, path);
		compare_dynamic(e, path);
		compare_build_id(e, path);
		compare_sections(e, path);
		print_message("%s: %zu symbols, %zu dynamic symbols\n", path, lp_elf_symbol_count(e, LP_SYMTAB),
			      lp_elf_symbol_count(e, LP_DYNSYM));
		lp_elf_close(e);
		compared++;
	}
	assert_true(compared >= 4);
}

static void assert_same_dynamic_symbols(const struct lp_elf *a, const struct lp_elf *b)
{
	assert_int_equal(lp_elf_symbol_count(a, LP_DYNSYM), lp_elf_symbol_count(b, LP_DYNSYM));
	for (size_t i = 0; i < lp_elf_symbol_count(a, LP_DYNSYM); i++) {
		struct lp_elf_sym sa, sb;
		assert_true(lp_elf_symbol(a, LP_DYNSYM, i, &sa));
		assert_true(lp_elf_symbol(b, LP_DYNSYM, i, &sb));
		assert_string_equal(sa.name, sb.name);
		assert_int_equal(sa.value, sb.value);
		assert_int_equal(!sa.version, !sb.version);
		if (sa.version)
			assert_string_equal(sa.version, sb.version);
	}
}

static void without_section_headers_the_hash_tables_and_relocations_count_the_symbols(void **state)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(files); i++) {
		size_t len;
		struct lp_elf *e, *bare;
		const char *path = path_of(i);
		if (access(path, R_OK))
			continue;
		uint8_t *bytes = slurp(path, &len);
		Elf64_Ehdr *h = (Elf64_Ehdr *)bytes;
		h->e_shoff = 0;
		h->e_shnum = h->e_shstrndx = 0;
		assert_int_equal(lp_elf_from_bytes(&bare, bytes, len, path, NULL), 0);
		e = open_elf(path);
		assert_int_equal(lp_elf_section_count(bare), 0);
		assert_same_dynamic_symbols(e, bare);
		lp_elf_close(bare);
		lp_elf_close(e);
		lp_free(bytes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(real_files_are_what_readelf_says),
		cmocka_unit_test(without_section_headers_the_hash_tables_and_relocations_count_the_symbols),
	};
	return cmocka_run_group_tests(tests, compile, NULL);
}
