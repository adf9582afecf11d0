# What each module's GNUmakefile shares: tests, fuzzing, static analysis and
# the compile check, away from FreeBSD.  Included by a module's GNUmakefile
# after it has set:
#
#	CORE		portable C: compiled for tests without any kernel
#	GLUE		kernel C: compiled on the stand-in kernel (tests/kern)
#	GLUE_HEADERS	headers of the module that include the kernel's
#	CORE_TESTS	NAME for each tests/test_NAME.c that needs only CORE
#	GLUE_TESTS	NAME for each tests/test_NAME.c on the stand-in kernel
#	FUZZERS		NAME for each tests/fuzz_NAME.c, which needs only CORE
#	MANUALS		what mandoc reads
#	LIVE_PROGRAMS	"NAME FILE..." for each program that is run on a
#			FreeBSD machine, with sources in tests/live
#
#	make test		all of it but the next three
#	make fuzz-smoke		each fuzzer for 5 seconds, as in test
#	make fuzz SECONDS=600	longer
#	make freebsd-check	the module against FreeBSD's kernel headers
#	make clean

# Without clang and its runtime the tests are built by cc, and what needs clang
# is skipped, by name; with HV_VSS_NO_SKIP set nothing may be skipped.
HAVE_CLANG:=	$(shell echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' | \
		    clang -fsanitize=fuzzer,address,undefined -x c - \
		    -o /dev/null 2> /dev/null && echo yes)
CC_TEST?=	$(if ${HAVE_CLANG},clang,cc)
BUILD?=		build
SECONDS?=	300
SHARED:=	$(patsubst %/,%,$(dir $(abspath $(lastword ${MAKEFILE_LIST}))))/tests
MAKEFLAGS+=	--no-print-directory

WARN=		-Wall -Wextra -Wconversion -Werror
SAN=		-fsanitize=address,undefined -fno-sanitize-recover=all \
		-fno-omit-frame-pointer
TEST_CFLAGS=	-std=c11 -g -O1 ${WARN} -Wno-unused-function ${SAN}

KERN=		$(wildcard ${SHARED}/kern/*.c)
HEADERS=	$(wildcard *.h tests/*.h tests/*/*.h ${SHARED}/*.h \
		    ${SHARED}/kern/*.h)
NEEDS=		${SHARED}/needs.sh
NEED_CLANG=	clang-warnings analyser $(FUZZERS:%=fuzz_%)
MAKEFILES=	GNUmakefile ${SHARED}/../test.mk
FUZZ_BUILT=	$(FUZZERS:%=${BUILD}/fuzz_%)
TESTS=		$(CORE_TESTS:%=${BUILD}/test_%) $(GLUE_TESTS:%=${BUILD}/test_%) \
		${MORE_TESTS}

# The kernel headers that the glue includes: each leads to tests/kern/kern.h,
# after the host's own of that name, which its C library may need.
KERN_HEADERS=	$(sort $(shell sed -n 's/^\#include <\(.*\)>$$/\1/p' ${GLUE} \
		    ${GLUE_HEADERS}) sys/types.h sys/errno.h ${KERN_GENERATED})
KERN_INCLUDE=	${BUILD}/kern
GLUE_CFLAGS=	-std=gnu11 -g -O1 ${WARN} ${SAN} -D_KERNEL -I${KERN_INCLUDE}

.PHONY: all test warnings analyze man fuzzers fuzz fuzz-smoke freebsd-check clean
all: test

ifneq (${HAVE_CLANG},)
test: warnings analyze man ${TESTS} fuzzers
	@${NEEDS} clang yes ${NEED_CLANG}
	@${SHARED}/run.sh ${TESTS} \
	    $(if ${FUZZERS},"${SHARED}/fuzz.sh 5 ${BUILD} ${FUZZERS}")
else
test: ${BUILD}/gcc.ok man ${TESTS}
	@${NEEDS} clang "" ${NEED_CLANG}
	@${SHARED}/run.sh ${TESTS}
endif

${BUILD}:
	@mkdir -p $@

$(CORE_TESTS:%=${BUILD}/test_%): ${BUILD}/test_%: tests/test_%.c ${CORE} \
    ${HEADERS} ${MAKEFILES} | ${BUILD}
	${CC_TEST} ${TEST_CFLAGS} -o $@ $< ${CORE}

${KERN_INCLUDE}/made: ${GLUE} ${GLUE_HEADERS} ${MAKEFILES}
	@rm -rf ${KERN_INCLUDE}
	@for h in ${KERN_HEADERS}; do \
		mkdir -p $$(dirname ${KERN_INCLUDE}/$$h); \
		{ echo "#if __has_include_next(<$$h>)"; \
		  echo "#include_next <$$h>"; \
		  echo "#endif"; \
		  echo '#include "${SHARED}/kern/kern.h"'; \
		} > ${KERN_INCLUDE}/$$h; \
	done
	@touch $@

$(GLUE_TESTS:%=${BUILD}/test_%): ${BUILD}/test_%: tests/test_%.c ${KERN} \
    ${GLUE} ${CORE} ${HEADERS} ${KERN_INCLUDE}/made
	${CC_TEST} ${GLUE_CFLAGS} -o $@ $< ${KERN} ${GLUE} ${CORE}

# Everything has to be clean under both compilers, the core as plain C11.
warnings: ${BUILD}/gcc.ok ${BUILD}/clang.ok
${BUILD}/%.ok: ${CORE} ${GLUE} ${HEADERS} ${MAKEFILES} ${KERN_INCLUDE}/made
	for f in ${CORE}; do \
		$* -std=c11 -O2 ${WARN} -Wpedantic -Wcast-qual \
		    -Wstrict-prototypes -Wmissing-prototypes \
		    -c -o ${BUILD}/$*.o $$f || exit 1; \
	done
	for f in ${GLUE}; do \
		$* -std=gnu11 -O2 ${WARN} -Wstrict-prototypes -D_KERNEL \
		    -I${KERN_INCLUDE} -c -o ${BUILD}/$*.o $$f || exit 1; \
	done
	@touch $@

analyze: ${BUILD}/analyzed
${BUILD}/analyzed: ${CORE} ${GLUE} ${HEADERS} ${KERN_INCLUDE}/made
	$(if ${CORE},clang --analyze --analyzer-output text \
	    -Xclang -analyzer-werror -std=c11 ${CORE})
	clang --analyze --analyzer-output text -Xclang -analyzer-werror \
	    -std=gnu11 -D_KERNEL -I${KERN_INCLUDE} ${GLUE}
	@touch $@

fuzzers: ${FUZZ_BUILT}
$(FUZZ_BUILT): ${BUILD}/fuzz_%: tests/fuzz_%.c ${CORE} ${HEADERS} \
    ${MAKEFILES} | ${BUILD}
	clang ${TEST_CFLAGS} -fsanitize=fuzzer -o $@ $< ${CORE}

fuzz-smoke: fuzzers
	@$(if ${FUZZERS},${SHARED}/fuzz.sh 5 ${BUILD} ${FUZZERS})

fuzz: fuzzers
	@$(if ${FUZZERS},${SHARED}/fuzz.sh ${SECONDS} ${BUILD} ${FUZZERS})

# mandoc says nothing about a manual that is as it should be; but of the other
# manuals it names, FreeBSD's are not on this machine.
man:
	@if command -v mandoc > /dev/null; then \
		${NEEDS} mandoc yes ${MANUALS}; \
		out=$$(mandoc -T lint -W style ${MANUALS} 2>&1 | grep -v \
		    -e 'referenced manual not found' -e 'outdated mandoc.db'); \
		echo "manual: $${out:-nothing to complain about}"; \
		test -z "$$out"; \
	else \
		${NEEDS} mandoc "" ${MANUALS}; \
	fi

freebsd-check:
	@SOURCES="${GLUE} ${CORE}" MANUALS="${MANUALS}" \
	    ${SHARED}/freebsd/check.sh . ${BUILD}/freebsd ${LIVE_PROGRAMS}

clean:
	rm -rf ${BUILD}
