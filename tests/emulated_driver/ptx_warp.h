/* What happens when the lanes of a warp have come to the same instruction. */
#pragma once
#include "ptx.h"

/* The result of a lane; `lanes` has NULL for those that are not of its group. */
typedef void (*Meeting)(Thread **lanes, Thread *, const Insn *);

/* NULL where lanes only wait for each other. */
Meeting meeting_of(const Insn *);
