/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * Reading and answering the host's raw messages.  Pure functions over a
 * buffer and its length: no state, no side effect but on that buffer.
 */
#ifndef _VSS_IC_H_
#define	_VSS_IC_H_

#include "hv_snapshot.h"	/* the integer types, kernel or not */

/* What a message asks for, once its length has been found sufficient. */
enum vss_ic_kind {
	VSS_IC_RUNT,		/* no whole header: can't even be answered */
	VSS_IC_TRUNCATED,	/* a header, but not what its type needs */
	VSS_IC_UNSUPPORTED,	/* another service's, or an unknown operation */
	VSS_IC_NEGOTIATE,
	VSS_IC_DM_INFO,
	VSS_IC_NOTHING_TO_DO,	/* known, and not a guest's business */
	VSS_IC_CHECK,		/* these three in the order of HV_VSS_* */
	VSS_IC_FREEZE,
	VSS_IC_THAW
};

/* A version as one number that compares by major, then minor. */
#define	VSS_VERSION(major, minor)	((uint32_t)(major) << 16 | (minor))
#define	VSS_FW_VERSION			VSS_VERSION(3, 0)
#define	VSS_MSG_VERSION			VSS_VERSION(5, 0)

enum vss_ic_kind vss_ic_kind(const uint8_t *msg, size_t len);

/*
 * Turns an offer into our choice: of each kind the highest version that is
 * not above ours.  Returns the status to answer with; unless that is HV_S_OK
 * the message and the two results are left alone.
 */
uint32_t	vss_ic_negotiate(uint8_t *msg, size_t len, uint32_t *fw_version,
		    uint32_t *msg_version);

/* Sets the flags of a VSS body; the message has HV_VSS_MSGSIZE or more. */
void		vss_ic_set_flags(uint8_t *msg, uint32_t flags);

/* Makes an answer of a message that has a whole header. */
void		vss_ic_answer(uint8_t *msg, uint32_t status);

#endif /* !_VSS_IC_H_ */
