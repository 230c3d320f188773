/* SPDX-License-Identifier: MIT */
/* scan.h: what searches and copies share with scans. */
#ifndef AXP_SCAN_H
#define AXP_SCAN_H

#include "guard.h"

/* A run() that tries a byte of each page. */
void axp_touch_to_read(axp_attempt *attempt);

#endif
