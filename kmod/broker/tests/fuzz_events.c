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
	must(error == 0 || (error == ETIMEDOUT && opener == FS) ||
	    error == ENOENT || error == EINVAL || error == ENXIO);
}

/*
 * What the host heard, told by the driver, against what the host did hear: in
 * a block of its own size, so that a write beyond it is seen.
 */
static void
told(int opener)
{
	struct hv_vss_heard *h = malloc(sizeof(*h));

	must(h != NULL);
	memset(h, 0xa5, sizeof(*h));
	int error = vss_core_ioctl(&w.core, opener, IOCHVVSSHEARD, 0, h);
	must_equal(error, w.core.openers[opener].open ? 0 : ENXIO);
	if (error == 0) {
		must_equal(h->version, HV_VSS_HEARD_VERSION);
		must_equal(h->total, (uint64_t)w.done_calls);
		must_equal(h->count, h->total < HV_VSS_HEARD_MAX ? h->total :
		    HV_VSS_HEARD_MAX);
		must(h->apps <= VSS_APPS_MAX);
		for (uint32_t i = 0; i < h->count; i++) {
			const struct hv_vss_heard_req *r = &h->req[i];

			must(r->why > HV_VSS_WHY_NONE &&
			    r->why < HV_VSS_WHY_COUNT);
			must(r->opt > HV_VSS_NONE && r->opt < HV_VSS_COUNT);
			must(r->app <= VSS_APPS_MAX);
			must(opener == FS || r->pid == 0);
		}
		if (h->count != 0) {
			must_equal(h->req[h->count - 1].opt, w.done_opt);
			must_equal(h->req[h->count - 1].status, w.done_status);
			must_equal(h->req[h->count - 1].why, w.done_why);
		}
	}
	free(h);
}

static void
event(uint8_t what, uint8_t who)
{
	static const unsigned operations[] = { IC_CHECK, IC_FREEZE, IC_THAW,
	    IC_DM_INFO, IC_CREATE, IC_DELETE, IC_BU_COMPLETE, IC_AUTO_RECOVER };
	int opener = who % VSS_OPENERS_MAX;
	int ignored;

	switch (what % 8) {
	case 0:
		host_asks(&w, operations[who % 8]);
		break;
	case 1:
		vss_core_open(&w.core, opener == FS ? VSS_NODE_FS :
		    VSS_NODE_APP, who, &ignored);
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
		else if (who & 0x80)
			w.unsendable = who & 1 ? EAGAIN : 0;
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
		told(data[i + 1] % VSS_OPENERS_MAX);
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
