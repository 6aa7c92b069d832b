"""Writes the small .npy files that npy_test.cpp reads, with NumPy itself."""
import os

import numpy as np
from numpy.lib import format as npy_format

HERE = os.path.dirname(os.path.abspath(__file__))


def save(name, array, version=None):
    with open(os.path.join(HERE, name), "wb") as out:
        npy_format.write_array(out, array, version=version)


save("u8_2x3.npy", np.array([[0, 1, 2], [253, 254, 255]], np.uint8))
save("i32_3.npy", np.array([-(2**31), -1, 2**31 - 1], np.int32))
save("i64_1x1x2.npy", np.array([[[-(2**63), 2**63 - 1]]], np.int64))
save("f32_2x2.npy", np.array([[0.5, -1.25], [3e38, -0.0]], np.float32))
save("f32_scalar.npy", np.array(0.1, np.float32))
save("f32_0x4.npy", np.zeros((0, 4), np.float32))
save("f32_version2.npy", np.array([1.0, 2.0], np.float32), version=(2, 0))
save("f32_fortran.npy", np.asfortranarray(np.array([[1, 2, 3], [4, 5, 6]], np.float32)))
save("f32_big_endian.npy", np.array([1.0], ">f4"))
save("f64.npy", np.array([1.0]))
save("structured.npy", np.zeros(1, [("a", "<i4")]))
