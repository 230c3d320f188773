# SPDX-License-Identifier: MIT
"""What the library makes of an instruction whose fault does not tell whether it read or wrote."""

import ctypes

import pytest
from helpers_compiled import compile_library

from axptr_native import MappingFlags

NEITHER, READ, WRITE = MappingFlags(0), MappingFlags.READ, MappingFlags.WRITE

AARCH64 = {
    "ldr x0, [x1]": (0xF9400020, READ),
    "str x0, [x1]": (0xF9000020, WRITE),
    "ldr q0, [x1]": (0x3DC00020, READ),
    "str q0, [x1]": (0x3D800020, WRITE),
    "ldrsb x0, [x1]": (0x39800020, READ),
    "ldr x0, [x1, x2]": (0xF8626820, READ),
    "str x0, [x1, x2]": (0xF8226820, WRITE),
    "ldr x0, label": (0x58000000, READ),
    "ldp x0, x1, [x2]": (0xA9400440, READ),
    "stp x0, x1, [x2]": (0xA9000440, WRITE),
    "ldxp x0, x1, [x2]": (0xC87F0440, READ),
    "stxp w2, x0, x1, [x2]": (0xC8220440, WRITE),
    "ldar x0, [x1]": (0xC8DFFC20, READ),
    "stlr x0, [x1]": (0xC89FFC20, WRITE),
    "ldapr x0, [x1]": (0xF8BFC020, READ),
    "ldapur x0, [x1]": (0xD9400020, READ),
    "stlur x0, [x1]": (0xD9000020, WRITE),
    "ldraa x0, [x1, #8]": (0xF8201420, READ),
    "ldadd x0, x0, [x1]": (0xF8200020, WRITE),
    "swp x0, x1, [x2]": (0xF8208041, WRITE),
    "swppl x0, x1, [x2]": (0x19618040, WRITE),
    "ldclrp x0, x1, [x2]": (0x19211040, WRITE),
    "cas x0, x1, [x2]": (0xC8A07C41, WRITE),
    "casal x0, x1, [x2]": (0xC8E0FC41, WRITE),
    "casp x0, x1, x2, x3, [x4]": (0x48207C82, WRITE),
    "caspal x0, x1, x2, x3, [x4]": (0x4860FC82, WRITE),
    "ld1 {v0.16b}, [x1]": (0x4C407020, READ),
    "st1 {v0.16b}, [x1]": (0x4C007020, WRITE),
    "ldg x0, [x1]": (0xD9600020, READ),
    "stg x0, [x1]": (0xD9200820, WRITE),
    "stz2g x0, [x1]": (0xD9E00820, WRITE),
    "dc zva, x0": (0xD50B7420, WRITE),
    "setp [x0]!, x1!, x2": (0x19C20420, WRITE),
    "add x0, x1, x2": (0x8B020020, NEITHER),
    "nop": (0xD503201F, NEITHER),
}

RISCV = {
    "lb a5, 0(a4)": (0x00070783, READ),
    "sb a5, 0(a4)": (0x00F70023, WRITE),
    "fld fa5, 0(a4)": (0x00073787, READ),
    "fsd fa5, 0(a4)": (0x00F73027, WRITE),
    "lr.w a5, (a4)": (0x100727AF, READ),
    "sc.w a5, a5, (a4)": (0x18F727AF, WRITE),
    "amoadd.w a4, a5, (a4)": (0x00F7272F, WRITE),
    "amocas.w a4, a5, (a4)": (0x28F7272F, WRITE),
    "cbo.zero (a0)": (0x0045200F, WRITE),
    "fence": (0x0FF0000F, NEITHER),
    "add a5, a4, a5": (0x00F707B3, NEITHER),
    "c.lw a5, 0(a4)": (0x431C, READ),
    "c.sw a5, 0(a4)": (0xC31C, WRITE),
    "c.ld a5, 0(a4)": (0x631C, READ),
    "c.sd a5, 0(a4)": (0xE31C, WRITE),
    "c.lwsp a5, 0(sp)": (0x4782, READ),
    "c.sdsp a5, 0(sp)": (0xE03E, WRITE),
    "c.lbu a5, 0(a4)": (0x831C, READ),
    "c.lh a5, 0(a4)": (0x875C, READ),
    "c.sb a5, 0(a4)": (0x8B1C, WRITE),
    "c.sh a5, 0(a4)": (0x8F1C, WRITE),
    "c.addi4spn a5, sp, 16": (0x081C, NEITHER),
    "c.mv a5, a4": (0x87BA, NEITHER),
    "c.j 0": (0xA001, NEITHER),
}

CASES = [
    pytest.param(processor, code, access, id=f"{processor}: {written}")
    for processor, instructions in (("aarch64", AARCH64), ("riscv", RISCV))
    for written, (code, access) in instructions.items()
]


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ctypes.CDLL]:
    """For each processor a library that takes its instructions apart."""
    folder = tmp_path_factory.mktemp("instructions")
    return {name: ctypes.CDLL(str(compile_library(f"instructions_{name}", folder))) for name in ("aarch64", "riscv")}


@pytest.mark.parametrize(("processor", "code", "access"), CASES)
def test_an_instruction_is_a_load_a_store_or_neither(
    processor: str, code: int, access: MappingFlags, libraries: dict[str, ctypes.CDLL]
) -> None:
    """As the processor's manual encodes it."""
    assert MappingFlags(libraries[processor].access_of(code)) == access
