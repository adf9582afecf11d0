/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * An observer, as of the day that role was appended to the first ABI.  Its compiled form is kept in this directory beside v1's, under the same
 * promise.
 *
 * It needs no library, so that one file loads on FreeBSD and on Linux:
 *
 *	cc -std=c11 -Os -shared -fPIC -ffreestanding -fno-stack-protector -nostdlib -Wl,--build-id=none -s -I ../../plugins/api/include \
 *	    -o v1-observer-amd64.so v1-observer.c
 *
 * Never compile it anew: then it would only show what today's header says.
 */
#include "hv_vss_plugin.h"

#define	PROMISED(what)	do { if (!(what)) return (fails(#what, reason, reason_size)); } while (0)

/* The sizes as they were, written out: sizeof would follow the header. */
#define	HOST_1		48
#define	OPENING_1	32
#define	STEP_1		88
#define	PLUGIN_1	104

static const struct hv_vss_host *host;
static unsigned told;

static int32_t
fails(const char *what, char *reason, size_t reason_size)
{
	size_t i;

	for (i = 0; i + 1 < reason_size && what[i] != '\0'; i++)
		reason[i] = what[i];
	reason[i] = '\0';
	return (HV_VSS_BROKEN);
}

static int
same(const char *one, const char *other)
{
	while (*one != '\0' && *one == *other)
		one++, other++;
	return (*one == *other);
}

static int32_t
observer_open(const struct hv_vss_opening *opening, void **self, char *reason, size_t reason_size)
{
	PROMISED(opening->size >= OPENING_1);
	PROMISED(opening->host->size >= HOST_1);
	PROMISED(opening->setting_count == 0);
	PROMISED(same(opening->json, "{}"));
	host = opening->host;
	*self = &told;
	return (HV_VSS_DONE);
}

static int32_t
observer_ended(void *self, const struct hv_vss_step *step, const char *record, char *reason, size_t reason_size)
{
	PROMISED(self == &told);
	PROMISED(reason_size >= 256);
	PROMISED(step->size >= STEP_1);
	PROMISED(step->role == HV_VSS_ROLE_OBSERVER);
	PROMISED(step->host == host);
	PROMISED(same(step->cycle, "c1"));
	PROMISED(step->deadline_ns > 0);
	PROMISED(step->time_left_ms > 0);
	PROMISED(step->expiry_ns == 0);
	PROMISED(step->owed_count == 0);
	PROMISED(step->only == NULL);
	PROMISED(host->time_left_ms(host) > 0);
	PROMISED(host->cancelled(host) == 0);
	PROMISED(same(record, "{\"cycle\":\"c1\"}"));
	told++;
	host->log(host, HV_VSS_LOG_INFO, told == 1 ? "told once" : "told again");
	return (HV_VSS_DONE);
}

static void
observer_close(void *self)
{
	if (self == &told && told == 2)
		host->log(host, HV_VSS_LOG_DEBUG, "closed");
}

/* Nothing that has to do with a freeze is there. */
static const struct hv_vss_plugin plugin = {
	.size = PLUGIN_1,
	.abi = 1,
	.roles = HV_VSS_ROLE_OBSERVER,
	.name = "first_observer",
	.version = "1",
	.description = "An observer of the first ABI",
	.open = observer_open,
	.close = observer_close,
	.ended = observer_ended,
};

HV_VSS_EXPORT const struct hv_vss_plugin *
hv_vss_plugin_v1(void)
{
	return (&plugin);
}
