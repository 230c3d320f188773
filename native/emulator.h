/* SPDX-License-Identifier: MIT */
/* emulator.h: between memory_posix.c, which finds out, and whoever has to allow for it. */
#ifndef AXP_EMULATOR_H
#define AXP_EMULATOR_H

/* Whether an emulator runs this program on another processor: it keeps to itself some of what the processor
 * would tell, and pretends to do what it does not.  Set when the library is loaded, and never again. */
extern int axp_is_emulated;

#endif
