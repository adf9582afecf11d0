/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * libFuzzer target: any bytes as a message from the host, in each state the
 * driver can be in.  The message lies in a block of exactly its length.
 *
 * The first input byte picks the state, the rest is the message.
 */
#define	CHECK_ABORTS
#include "world.h"

static struct world w;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned pending[] = { IC_CHECK, IC_FREEZE, IC_THAW };
	uint8_t *m;
	size_t len;
	uint8_t state;

	if (size == 0)
		return (0);
	state = data[0];
	len = size - 1;

	world_init(&w, 0);
	if (state & 1)
		opens(&w, VSS_NODE_FS);
	if (state & 2)
		opens(&w, VSS_NODE_APP);
	if ((state & 1) && (state >> 2) % 4 != 3)
		host_asks(&w, pending[(state >> 2) % 4]);
	int was_pending = w.core.stage != VSS_IDLE;
	uint64_t before = w.core.counters.answers;

	m = malloc(len != 0 ? len : 1);
	must(m != NULL);
	memcpy(m, data + 1, len);
	w.sent++;
	vss_core_host_msg(&w.core, m, len, w.sent);

	int answers = (int)(w.core.counters.answers - before);
	int is_pending = w.core.stage != VSS_IDLE;
	if (len < 28)
		must(answers == 0 && is_pending == was_pending);
	else
		must_equal(answers + is_pending, 1 + was_pending);
	/* What was answered at once keeps its length and has the flags. */
	if (w.answered[w.sent]) {
		must_equal(w.answer_len, len);
		must_equal(w.answer[25], 1 | 4);
		if (len >= 40 && ic_get16(m + 12) == 0 &&
		    ic_status(m) == HV_S_OK)
			must(ic_get16(m + 28) == 1 && ic_get16(m + 30) == 1);
	}
	free(m);
	if (is_pending)
		time_is_up(&w);
	vss_core_detach(&w.core);
	must_equal(w.core.counters.messages, w.core.counters.answers);
	return (0);
}
