/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * dev.hvvssb.N: what an administrator can see of the driver and set.  It only
 * looks, but for the time limit, which meets the next request.
 *
 * Locking: sc->mtx for as long as something is copied or set, over no call of
 * sysctl's.  Single numbers are read without it, in one load each.
 */
#include <sys/param.h>
#include "hv_vss_var.h"

static const char *const vss_opt_names[HV_VSS_COUNT] = {
	[HV_VSS_NONE] = "none",
	[HV_VSS_CHECK] = "check",
	[HV_VSS_FREEZE] = "freeze",
	[HV_VSS_THAW] = "thaw",
};

const char *
vss_opt_name(uint32_t opt)
{
	return (opt < HV_VSS_COUNT ? vss_opt_names[opt] : "unknown");
}

static const char *const vss_why_names[HV_VSS_WHY_COUNT] = {
	[HV_VSS_WHY_NONE] = "none",
	[HV_VSS_WHY_DONE] = "done",
	[HV_VSS_WHY_FS_REFUSED] = "daemon-refused",
	[HV_VSS_WHY_FS_TIMEOUT] = "daemon-timeout",
	[HV_VSS_WHY_FS_GONE] = "daemon-gone",
	[HV_VSS_WHY_FS_CLOSED] = "no-daemon",
	[HV_VSS_WHY_APP_REFUSED] = "application-refused",
	[HV_VSS_WHY_APP_TIMEOUT] = "application-timeout",
	[HV_VSS_WHY_APP_GONE] = "application-gone",
	[HV_VSS_WHY_BUSY] = "busy",
	[HV_VSS_WHY_DISPLACED] = "displaced",
	[HV_VSS_WHY_DETACHED] = "detached",
};

const char *
vss_why_name(uint32_t why)
{
	return (why < HV_VSS_WHY_COUNT ? vss_why_names[why] : "unknown");
}

static int
vss_sysctl_state(SYSCTL_HANDLER_ARGS)
{
	static const char *const stages[] = {
		[VSS_IDLE] = "idle",
		[VSS_ASKING_APPS] = "asking applications",
		[VSS_ASKING_FS] = "asking the filesystem node",
	};
	struct vss_softc *sc = arg1;
	char text[96];

	mtx_lock(&sc->mtx);
	snprintf(text, sizeof(text), "%s: %s; filesystem node %s; "
	    "applications: %d", vss_opt_name(sc->core.stage == VSS_IDLE ?
	    HV_VSS_NONE : sc->core.req.opt),
	    stages[sc->core.stage],
	    vss_core_openers(&sc->core, VSS_NODE_FS) ? "open" : "closed",
	    vss_core_openers(&sc->core, VSS_NODE_APP));
	mtx_unlock(&sc->mtx);
	return (sysctl_handle_string(oidp, text, sizeof(text), req));
}

static int
vss_sysctl_timeout_ms(SYSCTL_HANDLER_ARGS)
{
	struct vss_softc *sc = arg1;
	u_int ms = sc->core.timeout_ms;
	int error;

	error = sysctl_handle_int(oidp, &ms, 0, req);
	if (error != 0 || req->newptr == NULL)
		return (error);
	if (ms < VSS_LIMIT_LOWEST_MS || ms > VSS_TIMEOUT_HIGHEST_MS)
		return (EINVAL);
	mtx_lock(&sc->mtx);
	vss_core_set_timeout_ms(&sc->core, ms);
	mtx_unlock(&sc->mtx);
	return (0);
}

static int
vss_sysctl_freeze_timeout_ms(SYSCTL_HANDLER_ARGS)
{
	struct vss_softc *sc = arg1;
	u_int ms = sc->core.freeze_timeout_ms;
	int error;

	error = sysctl_handle_int(oidp, &ms, 0, req);
	if (error != 0 || req->newptr == NULL)
		return (error);
	if (ms != 0 && (ms < VSS_LIMIT_LOWEST_MS || ms > VSS_FREEZE_HIGHEST_MS))
		return (EINVAL);
	mtx_lock(&sc->mtx);
	vss_core_set_freeze_timeout_ms(&sc->core, ms);
	mtx_unlock(&sc->mtx);
	return (0);
}

static const struct {
	const char	*name;
	size_t		offset;
	const char	*descr;
} vss_counters[] = {
#define	COUNTER(field, descr)						\
	{ #field, __offsetof(struct vss_core_counters, field), descr }
	COUNTER(messages, "messages from the host"),
	COUNTER(runts, "host messages too short to answer"),
	COUNTER(requests, "CHECK, FREEZE and THAW requests"),
	COUNTER(answers, "answers given to the host"),
	COUNTER(unsent, "answers that did not reach the host"),
	COUNTER(timeouts, "requests that ran out of time"),
	COUNTER(late_answers, "answers of programs that came too late"),
	COUNTER(refused, "requests failed at once: busy, or no daemon"),
	COUNTER(cancelled, "CHECK or FREEZE requests ended by a THAW"),
	COUNTER(driver_thaws, "THAWs of the driver's own to applications"),
#undef	COUNTER
};

void
vss_add_sysctls(struct vss_softc *sc)
{
	struct sysctl_oid_list *top;
	size_t i;

	/* Not the device's own: that one outlives our mutex. */
	sysctl_ctx_init(&sc->sysctls);
	top = SYSCTL_CHILDREN(device_get_sysctl_tree(sc->dev));
	SYSCTL_ADD_PROC(&sc->sysctls, top, OID_AUTO, "state",
	    CTLTYPE_STRING | CTLFLAG_RD | CTLFLAG_MPSAFE, sc, 0,
	    vss_sysctl_state, "A", "the request at hand and the openers");
	SYSCTL_ADD_PROC(&sc->sysctls, top, OID_AUTO, "timeout_ms",
	    CTLTYPE_UINT | CTLFLAG_RWTUN | CTLFLAG_MPSAFE, sc, 0,
	    vss_sysctl_timeout_ms, "IU", "time limit of a request, ms");
	SYSCTL_ADD_PROC(&sc->sysctls, top, OID_AUTO, "freeze_timeout_ms",
	    CTLTYPE_UINT | CTLFLAG_RWTUN | CTLFLAG_MPSAFE, sc, 0,
	    vss_sysctl_freeze_timeout_ms, "IU",
	    "time limit of a FREEZE, ms; 0: timeout_ms");
	SYSCTL_ADD_INT(&sc->sysctls, top, OID_AUTO, "log_level",
	    CTLFLAG_RWTUN, &sc->log_level, 0,
	    "0: failures, 1: also requests, 2: each step");
	for (i = 0; i < nitems(vss_counters); i++)
		SYSCTL_ADD_U64(&sc->sysctls, top, OID_AUTO,
		    vss_counters[i].name, CTLFLAG_RD,
		    (uint64_t *)((char *)&sc->core.counters +
		    vss_counters[i].offset), 0, vss_counters[i].descr);
}
