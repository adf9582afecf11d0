/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Reading and answering the host's raw messages: see vss_ic.h.
 *
 * The length that counts is the one the channel reported.  The sizes written
 * inside a message are the host's claims; they are echoed, never relied on.
 */
#include "hv_utilreg.h"
#include "vss_ic.h"

static uint16_t
get16(const uint8_t *p)
{
	return ((uint16_t)(p[0] | p[1] << 8));
}

static void
put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v & 0xff);
	p[1] = (uint8_t)(v >> 8);
}

static void
put32(uint8_t *p, uint32_t v)
{
	put16(p, (uint16_t)(v & 0xffff));
	put16(p + 2, (uint16_t)(v >> 16));
}

static uint32_t
get_version(const uint8_t *p)
{
	return (VSS_VERSION(get16(p), get16(p + 2)));
}

static void
put_version(uint8_t *p, uint32_t version)
{
	put16(p, (uint16_t)(version >> 16));
	put16(p + 2, (uint16_t)(version & 0xffff));
}

enum vss_ic_kind
vss_ic_kind(const uint8_t *msg, size_t len)
{
	if (len < HV_IC_HDRSIZE)
		return (VSS_IC_RUNT);

	switch (get16(msg + HV_IC_TYPE)) {
	case HV_ICMSGTYPE_NEGOTIATE:
		return (len < HV_NEGO_VERSIONS ? VSS_IC_TRUNCATED :
		    VSS_IC_NEGOTIATE);
	case HV_ICMSGTYPE_VSS:
		break;
	default:
		return (VSS_IC_UNSUPPORTED);
	}

	if (len < HV_VSS_HDRSIZE)
		return (VSS_IC_TRUNCATED);
	switch (msg[HV_VSS_OPERATION]) {
	case VSS_OP_FREEZE:
		return (VSS_IC_FREEZE);
	case VSS_OP_THAW:
		return (VSS_IC_THAW);
	case VSS_OP_CREATE:
	case VSS_OP_DELETE:
	case VSS_OP_BU_COMPLETE:
	case VSS_OP_AUTO_RECOVER:
		return (VSS_IC_NOTHING_TO_DO);
	case VSS_OP_HOT_BACKUP:
	case VSS_OP_GET_DM_INFO:
		/* These two are answered with flags and need the room. */
		return (len < HV_VSS_MSGSIZE ? VSS_IC_TRUNCATED :
		    msg[HV_VSS_OPERATION] == VSS_OP_HOT_BACKUP ?
		    VSS_IC_CHECK : VSS_IC_DM_INFO);
	default:
		return (VSS_IC_UNSUPPORTED);
	}
}

/* The highest of count versions at p that is not above ceiling, else 0. */
static uint32_t
best_version(const uint8_t *p, size_t count, uint32_t ceiling)
{
	uint32_t best, version;

	best = 0;
	for (size_t i = 0; i < count; i++) {
		version = get_version(p + i * HV_NEGO_VERSIZE);
		if (version <= ceiling && version > best)
			best = version;
	}
	return (best);
}

uint32_t
vss_ic_negotiate(uint8_t *msg, size_t len, uint32_t *fw_version,
    uint32_t *msg_version)
{
	uint8_t *versions;
	size_t fw_count, msg_count;
	uint32_t fw, mv;

	if (len < HV_NEGO_VERSIONS)
		return (HV_E_FAIL);
	fw_count = get16(msg + HV_NEGO_FWCNT);
	msg_count = get16(msg + HV_NEGO_MSGCNT);
	if (fw_count == 0 || msg_count == 0 || (fw_count + msg_count) *
	    HV_NEGO_VERSIZE > len - HV_NEGO_VERSIONS)
		return (HV_E_FAIL);

	versions = msg + HV_NEGO_VERSIONS;
	fw = best_version(versions, fw_count, VSS_FW_VERSION);
	mv = best_version(versions + fw_count * HV_NEGO_VERSIZE, msg_count,
	    VSS_MSG_VERSION);
	if (fw == 0 || mv == 0)
		return (HV_ERROR_NOT_SUPPORTED);

	put16(msg + HV_NEGO_FWCNT, 1);
	put16(msg + HV_NEGO_MSGCNT, 1);
	put_version(versions, fw);
	put_version(versions + HV_NEGO_VERSIZE, mv);
	put16(msg + HV_IC_DSIZE, HV_NEGO_VERSIONS + 2 * HV_NEGO_VERSIZE -
	    HV_IC_HDRSIZE);
	*fw_version = fw;
	*msg_version = mv;
	return (HV_S_OK);
}

void
vss_ic_set_flags(uint8_t *msg, uint32_t flags)
{
	put32(msg + HV_VSS_FLAGS, flags);
}

void
vss_ic_answer(uint8_t *msg, uint32_t status)
{
	put32(msg + HV_IC_STATUS, status);
	msg[HV_IC_FLAGS] = HV_ICMSGHDRFLAG_TRANSACTION |
	    HV_ICMSGHDRFLAG_RESPONSE;
}
