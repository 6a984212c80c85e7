/*
 * SHA-256 by the CPU's SHA extensions.  Source of the instructions' meaning:
 * Intel SDM 325383, volume 2, SHA256RNDS2, SHA256MSG1, SHA256MSG2.
 */
#define _GNU_SOURCE	/* REG_RIP */
#include "sha256.h"

#include <cpuid.h>
#include <immintrin.h>
#include <signal.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "uapi.h"

#define HWCAP2_FSGSBASE (1U << 1)	/* asm/hwcap2.h, v6.18 */

/* A race writes the same twice.  Not 0: .data is a page less to touch. */
enum { UNASKED = -1 };
static int known = UNASKED;

/*
 * In a virtual machine each cpuid costs a trap of some 10 us.  A kernel that
 * reports FSGSBASE has seen leaf 7, so asking whether leaf 7 exists is spared.
 */
int sha256_cpu_is_fast(void)
{
	unsigned a;
	unsigned b = 0;
	unsigned c;
	unsigned d;

	if (__atomic_load_n(&known, __ATOMIC_RELAXED) == UNASKED) {
		if (getauxval(UAPI_AT_HWCAP2) & HWCAP2_FSGSBASE ||
		    __get_cpuid_max(0, NULL) >= 7)
			__cpuid_count(7, 0, a, b, c, d);
		__atomic_store_n(&known, (b & bit_SHA) != 0, __ATOMIC_RELAXED);
	}
	return __atomic_load_n(&known, __ATOMIC_RELAXED);
}

/* sha256msg1, or in the build with faults an instruction that no CPU has. */
enum { TRIAL_SIZE = 4 };
#ifdef SHIM_FAULTS
#define TRIAL "ud2; nop; nop"
#else
#define TRIAL "sha256msg1 %%xmm0, %%xmm0"
#endif

static void fail_trial(int signal, siginfo_t *info, void *context)
{
	ucontext_t *interrupted = context;

	/* Somebody's kill(2), for which this would be the end as well. */
	if (info->si_code != ILL_ILLOPN)
		_exit(128 + signal);
	known = 0;
	interrupted->uc_mcontext.gregs[REG_RIP] += TRIAL_SIZE;
}

void sha256_try_cpu(void)
{
	struct sigaction catch = { 0 };
	struct sigaction before;
	sigset_t illegal;
	sigset_t mask;

	catch.sa_sigaction = fail_trial;
	catch.sa_flags = SA_SIGINFO;
	sigemptyset(&illegal);
	sigaddset(&illegal, SIGILL);
	if (sigaction(SIGILL, &catch, &before) != 0 ||
	    sigprocmask(SIG_UNBLOCK, &illegal, &mask) != 0)
		return; /* then cpuid is asked */
	known = 1;
	__asm__ volatile(TRIAL : : : "xmm0", "memory");
	sigprocmask(SIG_SETMASK, &mask, NULL);
	sigaction(SIGILL, &before, NULL);
}

/*
 * The instructions keep the eight words as two vectors, ABEF and CDGH, and do
 * two rounds each.  MESSAGE holds the next sixteen words of the schedule.
 */
__attribute__((target("sha,sse4.1,ssse3")))
void sha256_blocks_fast(uint32_t state[8], const uint8_t *blocks, size_t count)
{
	const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b,
					    0x0405060700010203);
	__m128i dcba = _mm_loadu_si128((const __m128i *)(const void *)state);
	__m128i hgfe = _mm_loadu_si128(
		(const __m128i *)(const void *)(state + 4));
	__m128i cdab = _mm_shuffle_epi32(dcba, 0xb1);
	__m128i efgh = _mm_shuffle_epi32(hgfe, 0x1b);
	__m128i abef = _mm_alignr_epi8(cdab, efgh, 8);
	__m128i cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);

	for (; count > 0; count--, blocks += SHA256_BLOCK) {
		__m128i before_abef = abef;
		__m128i before_cdgh = cdgh;
		__m128i message[4];

		for (int i = 0; i < 4; i++)
			message[i] = _mm_shuffle_epi8(
				_mm_loadu_si128((const __m128i *)(const void *)
						(blocks + 16 * i)), swap);
#pragma GCC unroll 16
		for (int i = 0; i < 16; i++) {
			__m128i now = message[i % 4];
			__m128i sum = _mm_add_epi32(
				now, _mm_loadu_si128(
					(const __m128i *)(const void *)
					(sha256_constants + 4 * i)));
			__m128i newest = message[(i + 3) % 4];
			__m128i middle = _mm_alignr_epi8(
				newest, message[(i + 2) % 4], 4);

			cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
			abef = _mm_sha256rnds2_epu32(
				abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
			now = _mm_sha256msg1_epu32(now, message[(i + 1) % 4]);
			now = _mm_add_epi32(now, middle);
			message[i % 4] = _mm_sha256msg2_epu32(now, newest);
		}
		abef = _mm_add_epi32(abef, before_abef);
		cdgh = _mm_add_epi32(cdgh, before_cdgh);
	}
	cdab = _mm_shuffle_epi32(abef, 0x1b);	/* feba */
	efgh = _mm_shuffle_epi32(cdgh, 0xb1);	/* dchg */
	dcba = _mm_blend_epi16(cdab, efgh, 0xf0);
	hgfe = _mm_alignr_epi8(efgh, cdab, 8);
	_mm_storeu_si128((__m128i *)(void *)state, dcba);
	_mm_storeu_si128((__m128i *)(void *)(state + 4), hgfe);
}
