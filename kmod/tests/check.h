/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The test harness: a claim is a function; it holds unless a must() in it
 * fails.  One line of output for each, in the form that run.sh counts.
 */
#ifndef _CHECK_H_
#define	_CHECK_H_

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

static jmp_buf check_failed;
static int check_failures;

/* Ends the claim; or, under a fuzzer, the process, so that it keeps the input. */
static inline _Noreturn void
check_fail(void)
{
#ifdef CHECK_ABORTS
	fflush(stdout);
	abort();
#endif
	longjmp(check_failed, 1);
}

#define	must(cond)	must_say(cond, "%s", #cond)
#define	must_say(cond, ...) do {					\
	if (!(cond)) {							\
		printf("# %s:%d: ", __FILE__, __LINE__);		\
		printf(__VA_ARGS__);					\
		printf("\n");						\
		check_fail();						\
	}								\
} while (0)

#define	must_equal(got, want) do {					\
	long long got_ = (long long)(got), want_ = (long long)(want);	\
	must_say(got_ == want_, "%s is %lld, not %s (%lld)", #got, got_,	\
	    #want, want_);						\
} while (0)

#define	holds(claim) do {						\
	if (setjmp(check_failed) == 0) {				\
		claim();						\
		printf("ok %s\n", #claim);				\
	} else {							\
		check_failures++;					\
		printf("not ok %s\n", #claim);				\
	}								\
	fflush(stdout);							\
} while (0)

#define	check_result()	(check_failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE)

#endif /* !_CHECK_H_ */
