/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * libFuzzer target: any sequence of events, with all eight applications and
 * with ids of any age, where the walk has three and merges states.
 *
 * Each event is two input bytes: what happens, and to or by whom.
 */
#define	CHECK_ABORTS
#include <errno.h>

#include "world.h"

static struct world w;
static struct hv_vss_opt_msg last[VSS_OPENERS_MAX];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
write_as(int opener, uint8_t how)
{
	struct hv_vss_opt_msg m = last[how % VSS_OPENERS_MAX];

	if (how & 0x10)
		m.opt = how & 7;
	if (how & 0x20)
		m.msgid ^= (uint64_t)1 << (how % 61);
	m.status = how >> 7;
	int error = vss_core_ioctl(&w.core, opener, IOCHVVSSWRITE, 1, &m);
	must(error == 0 || error == ETIMEDOUT || error == ENOENT ||
	    error == EINVAL || error == ENXIO);
}

static void
event(uint8_t what, uint8_t who)
{
	static const unsigned operations[] = { IC_CHECK, IC_FREEZE, IC_THAW,
	    IC_DM_INFO };
	int opener = who % VSS_OPENERS_MAX;
	int ignored;

	switch (what % 8) {
	case 0:
		host_asks(&w, operations[who % 4]);
		break;
	case 1:
		vss_core_open(&w.core, opener == FS ? VSS_NODE_FS :
		    VSS_NODE_APP, &ignored);
		break;
	case 2:
		closes(&w, opener);
		break;
	case 3:
		if (w.timer_armed)
			time_is_up(&w);
		break;
	case 4:
		w.now += (uint64_t)who << (what >> 3);	/* it may wrap */
		break;
	case 5:
		if (who == 0xff)
			vss_core_detach(&w.core);
		else
			host_negotiates(&w);
		break;
	case 6:
		vss_core_ioctl(&w.core, opener, IOCHVVSSREAD, 1,
		    &last[opener]);
		break;
	case 7:
		write_as(opener, (uint8_t)(what >> 3 << 4 | who >> 4));
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 2000)
		return (0);
	world_init(&w, 0);
	memset(last, 0, sizeof(last));
	for (size_t i = 0; i + 1 < size; i += 2) {
		event(data[i], data[i + 1]);
		w.trace[0] = '\0';
		must_equal(w.core.stage != VSS_IDLE, w.timer_armed);
		if (!w.core.detached)
			must_equal(w.core.counters.messages -
			    w.core.counters.answers, w.core.stage != VSS_IDLE);
		must(w.core.stage == VSS_IDLE || w.core.openers[FS].open);
	}
	vss_core_detach(&w.core);
	must_equal(w.core.counters.messages, w.core.counters.answers);
	for (int i = 0; i < VSS_OPENERS_MAX; i++)
		closes(&w, i);
	must_equal(vss_core_openers(&w.core, VSS_NODE_APP), 0);
	return (0);
}
