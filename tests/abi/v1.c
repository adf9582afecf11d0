/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A plugin of the first ABI.  Its compiled form is kept in this directory and is loaded by every later build: what it was promised when
 * it was compiled must hold for ever.  So it looks at every member of version 1 and refuses when one is not as it was promised.
 *
 * It needs no library, so that one file loads on FreeBSD and on Linux:
 *
 *	cc -std=c11 -Os -shared -fPIC -ffreestanding -fno-stack-protector -nostdlib -Wl,--build-id=none -s -I ../../plugins/api/include \
 *	    -o v1-amd64.so v1.c
 *
 * Never compile it anew: then it would only show what today's header says.
 */
#include "hv_vss_plugin.h"

#define	PROMISED(what)	do { if (!(what)) return (fails(#what, reason, reason_size)); } while (0)

/* The sizes that version 1 had, written out: sizeof would follow the header. */
#define	MOUNT_1		56
#define	HOST_1		48
#define	SETTING_1	24
#define	OPENING_1	32
#define	STEP_1		80

static const struct hv_vss_host *host;
static unsigned frozen;

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
v1_open(const struct hv_vss_opening *opening, void **self, char *reason, size_t reason_size)
{
	PROMISED(opening->size >= OPENING_1);
	PROMISED(opening->host->size >= HOST_1);
	PROMISED(opening->host->abi >= 1);
	PROMISED(opening->setting_count == 2);
	PROMISED(opening->settings[0]->size >= SETTING_1);
	PROMISED(same(opening->settings[0]->key, "name"));
	PROMISED(same(opening->settings[0]->value, "first"));
	PROMISED(same(opening->settings[1]->key, "table.number"));
	PROMISED(same(opening->settings[1]->value, "7"));
	PROMISED(same(opening->json, "{\"name\":\"first\",\"table\":{\"number\":7}}"));
	host = opening->host;
	host->log(host, HV_VSS_LOG_INFO, "opened");
	*self = &frozen;
	return (HV_VSS_DONE);
}

static int32_t
in_every_call(void *self, const struct hv_vss_step *step, char *reason, size_t reason_size)
{
	PROMISED(self == &frozen);
	PROMISED(reason_size >= 256);
	PROMISED(step->size >= STEP_1);
	PROMISED(step->host == host);
	PROMISED(same(step->cycle, "c1"));
	PROMISED(step->mount_count == 1);
	PROMISED(step->mounts[0]->size >= MOUNT_1);
	PROMISED(step->mounts[0]->fsid[7] == 1);
	PROMISED(same(step->mounts[0]->fstype, "ufs"));
	PROMISED(same(step->mounts[0]->on, "/data"));
	PROMISED(same(step->mounts[0]->from, "/dev/md0"));
	PROMISED(step->mounts[0]->backing == NULL);
	PROMISED(step->mounts[0]->swap == NULL);
	PROMISED(step->mounts[0]->flags == 0);
	PROMISED(step->deadline_ns > 0);
	PROMISED(step->time_left_ms > 0);
	PROMISED(host->time_left_ms(host) > 0);
	PROMISED(host->time_left_ms(host) <= step->time_left_ms);
	PROMISED(host->cancelled(host) == 0);
	return (HV_VSS_DONE);
}

static int32_t
v1_check(void *self, const struct hv_vss_step *step, char *reason, size_t reason_size)
{
	PROMISED(step->role == 0);
	PROMISED(step->outcome == HV_VSS_OUTCOME_OK);
	PROMISED(step->expiry_ns == 0);
	PROMISED(step->owed_count == 0);
	return (in_every_call(self, step, reason, reason_size));
}

static int32_t
v1_claim(void *self, const struct hv_vss_step *step, const struct hv_vss_mount *mount, char *reason, size_t reason_size)
{
	PROMISED(in_every_call(self, step, reason, reason_size) == HV_VSS_DONE);
	return ((mount->flags & HV_VSS_MOUNT_READ_ONLY) != 0 ? HV_VSS_CLAIM_IGNORE : HV_VSS_CLAIM_FREEZE);
}

static int32_t
v1_freeze(void *self, const struct hv_vss_step *step, char *reason, size_t reason_size)
{
	PROMISED(step->role == HV_VSS_ROLE_FILESYSTEM || step->role == HV_VSS_ROLE_APPLICATION);
	PROMISED(step->expiry_ns > step->deadline_ns);
	PROMISED((frozen & step->role) == 0);
	frozen |= step->role;
	host->substep(host, "a part", HV_VSS_PHASE_FREEZE, HV_VSS_SUBSTEP_STARTED, NULL);
	host->substep(host, "a part", HV_VSS_PHASE_FREEZE, HV_VSS_SUBSTEP_ENDED, "it failed");
	return (in_every_call(self, step, reason, reason_size));
}

static int32_t
v1_thaw(void *self, const struct hv_vss_step *step, char *reason, size_t reason_size)
{
	if ((frozen & step->role) == 0) {
		PROMISED(step->outcome == HV_VSS_OUTCOME_RECOVERED);
		PROMISED(step->owed_count == 1);
		PROMISED(same(step->owed[0], "a part"));
		host->lost(host, "an earlier process held it");
	}
	frozen &= ~step->role;
	return (in_every_call(self, step, reason, reason_size));
}

static void
v1_close(void *self)
{
	if (self == &frozen)
		host->log(host, HV_VSS_LOG_DEBUG, "closed");
}

static const struct hv_vss_plugin plugin = {
	.size = 96,
	.abi = 1,
	.roles = HV_VSS_ROLE_FILESYSTEM | HV_VSS_ROLE_APPLICATION,
	.flags = HV_VSS_HOLDS_SURVIVE_EXIT,
	.number = 42,
	.name = "first",
	.version = "1",
	.description = "A plugin of the first ABI",
	.open = v1_open,
	.check = v1_check,
	.claim = v1_claim,
	.freeze = v1_freeze,
	.thaw = v1_thaw,
	.close = v1_close,
};

HV_VSS_EXPORT const struct hv_vss_plugin *
hv_vss_plugin_v1(void)
{
	return (&plugin);
}
