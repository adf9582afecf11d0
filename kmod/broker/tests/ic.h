/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * The host's side of the wire, for tests: builds messages and takes answers
 * apart.  Written from the format's description with bare offsets, so that a
 * mistake in hv_utilreg.h does not hide itself.
 */
#ifndef _IC_H_
#define	_IC_H_

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { IC_CREATE = 0, IC_DELETE = 1, IC_CHECK = 2, IC_DM_INFO = 3,
    IC_BU_COMPLETE = 4, IC_FREEZE = 5, IC_THAW = 6, IC_AUTO_RECOVER = 7 };
enum { IC_VSS_LEN = 40, IC_ROOM = 512 };

static inline void
ic_put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static inline unsigned
ic_get16(const uint8_t *p)
{
	return ((unsigned)p[0] | (unsigned)p[1] << 8);
}

static inline uint32_t
ic_get32(const uint8_t *p)
{
	return ((uint32_t)ic_get16(p) | (uint32_t)ic_get16(p + 2) << 16);
}

static inline size_t
ic_header(uint8_t *m, unsigned type, size_t len)
{
	memset(m, 0, len);
	ic_put16(m + 0, 1);			/* pipe flags */
	ic_put16(m + 4, (unsigned)(len - 8));	/* pipe message size */
	ic_put16(m + 8, 3);			/* framework 3.0 */
	ic_put16(m + 12, type);
	ic_put16(m + 14, 5);			/* message 5.0 */
	ic_put16(m + 18, (unsigned)(len - 28));	/* data size */
	m[24] = 7;				/* transaction id */
	m[25] = 1 | 2;				/* TRANSACTION | REQUEST */
	return (len);
}

static inline size_t
ic_vss(uint8_t *m, unsigned operation)
{
	ic_header(m, 5, IC_VSS_LEN);
	m[28] = (uint8_t)operation;
	return (IC_VSS_LEN);
}

/* versions: majors and minors in turn, fw of them first, then msg. */
static inline size_t
ic_negotiate(uint8_t *m, unsigned fw, unsigned msg, const uint16_t *versions)
{
	size_t len = 36 + 4 * (size_t)(fw + msg);

	ic_header(m, 0, len);
	ic_put16(m + 28, fw);
	ic_put16(m + 30, msg);
	for (unsigned i = 0; i < 2 * (fw + msg); i++)
		ic_put16(m + 36 + 2 * i, versions[i]);
	return (len);
}

static inline uint32_t
ic_status(const uint8_t *m)
{
	return (ic_get32(m + 20));
}

#endif /* !_IC_H_ */
