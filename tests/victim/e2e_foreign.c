/*
 * A program that was patched by LibcarePlus or libcare, as far as its memory
 * goes: it lays out their image itself, byte by byte as they do
 * (docs/format-kpatch.md, "In a process"), and puts their jump on answer().
 *
 *     e2e_foreign {plus|libcare} [ID...]      one image for each ID, each on top of the one before
 *     e2e_foreign boast N                     N headers of images that claim records without end
 *     answer      "original", or "patched by N", N being the number of the image
 *     eintr       number of calls that were interrupted
 */
#include <link.h>
#include <stdint.h>
#include <sys/mman.h>

#include "e2e_serve.h"

enum { IMAGE = 8192, INFO = 1024, UNDO = 2048, CODE = 3072, HUNK = 5, RECORD = 48 };

PATCHED const char *answer(void)
{
	return "original";
}

static int add_build_id(struct dl_phdr_info *info, size_t size, void *out)
{
	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		if (p->p_type != PT_NOTE)
			continue;
		for (size_t at = 0; at + 16 < p->p_filesz;) {
			const unsigned char *note = (const unsigned char *)(info->dlpi_addr + p->p_vaddr + at);
			uint32_t head[3];
			memcpy(head, note, sizeof head);
			if (head[2] == 3 && memcmp(note + 12, "GNU", 4) == 0) {
				for (uint32_t k = 0; k < head[1]; k++)
					sprintf((char *)out + 2 * k, "%02x", note[16 + k]);
				return 1;
			}
			at += 12 + ((head[0] + 3) & ~3u) + ((head[1] + 3) & ~3u);
		}
	}
	return 1;
}

static unsigned char *map_near(uintptr_t to)
{
	for (uintptr_t at = (to & ~0xfffful) + (64ul << 20);; at += 1 << 20) {
		void *got = mmap((void *)at, IMAGE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		if (got == (void *)at)
			return got;
	}
}

static void put32(unsigned char *at, uint32_t v)
{
	memcpy(at, &v, sizeof v);
}

static void put64(unsigned char *at, uint64_t v)
{
	memcpy(at, &v, sizeof v);
}

static void fill_header(unsigned char *image, int plus, const char *id)
{
	unsigned char *words = image + (plus ? 152 : 352), *entries = image + (plus ? 184 : 368);
	memcpy(image, "KPATCH1", 8);
	strcpy((char *)image + (plus ? 24 : 16), "e2e_foreign");
	dl_iterate_phdr(add_build_id, image + (plus ? 88 : 80));
	if (plus)
		strncpy((char *)image + 8, id, 7);
	put32(words, plus ? 504 : 688);
	put32(words + 4, plus ? 504 : 688);
	put32(words + 8, IMAGE);
	if (plus)
		put64(image + 176, IMAGE);
	put32(entries, UNDO);
	put32(entries + 4, INFO);
}

/* mov $text, %rax; ret */
static void fill_code(unsigned char *code, const char *text)
{
	code[0] = 0x48;
	code[1] = 0xb8;
	put64(code + 2, (uintptr_t)text);
	code[10] = 0xc3;
}

static void patch(int plus, const char *id, int number)
{
	unsigned char *function = (unsigned char *)answer, *image = map_near((uintptr_t)function);
	static char texts[8][32];
	snprintf(texts[number], sizeof texts[number], "patched by %d", number);
	fill_header(image, plus, id);
	fill_code(image + CODE, texts[number]);
	/* The first record is a new function: undo slots count it. */
	put64(image + INFO + 8, (uintptr_t)image + CODE);
	put32(image + INFO + 20, 11);
	put64(image + INFO + RECORD, (uintptr_t)function);
	put64(image + INFO + RECORD + 8, (uintptr_t)image + CODE);
	put32(image + INFO + RECORD + 16, 8);
	put32(image + INFO + RECORD + 20, 11);
	memcpy(image + UNDO + HUNK, function, HUNK);
	mprotect(image, IMAGE, PROT_READ | PROT_EXEC | (plus ? 0 : PROT_WRITE));
	void *page = (void *)((uintptr_t)function & ~4095ul);
	mprotect(page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC);
	function[0] = 0xe9;
	put32(function + 1, (uint32_t)((uintptr_t)image + CODE - (uintptr_t)function - 5));
	mprotect(page, 8192, PROT_READ | PROT_EXEC);
}

enum { BOAST = 4 << 20 }; /* bytes of records, which all images share */

/* Nothing of it is true; each header is an area of its own, because every other page is not executable. */
static void boast(int nr)
{
	size_t headers = (size_t)nr * 8192;
	unsigned char *all = mmap(NULL, headers + BOAST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (all == MAP_FAILED)
		abort();
	for (size_t at = 0; at + RECORD <= BOAST; at += RECORD) {
		put64(all + headers + at, (uintptr_t)answer);
		put32(all + headers + at + 16, 8);
	}
	for (int i = 0; i < nr; i++) {
		unsigned char *image = all + (size_t)i * 8192;
		fill_header(image, 1, "endless");
		put32(image + 184 + 4, (uint32_t)(all + headers - image));
		mprotect(image, 4096, PROT_READ | PROT_EXEC);
	}
}

static void request(char *line)
{
	if (strcmp(line, "eintr") == 0)
		say("%lu", atomic_load(&interrupted_calls));
	else
		say("%s", answer());
}

int main(int argc, char **argv)
{
	int boasts = argc == 3 && strcmp(argv[1], "boast") == 0;
	if (boasts)
		boast(atoi(argv[2]));
	for (int i = 2; i < argc && i < 10 && !boasts; i++)
		patch(strcmp(argv[1], "plus") == 0, argv[i], i - 1);
	serve(request);
}
