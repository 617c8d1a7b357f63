import pytest
import torch

from convnext_lessons.system import CourseError, DeviceError, choose_device, device_name


def test_the_device_is_the_one_asked_for():
    assert choose_device("cpu") == torch.device("cpu")


def test_a_gpu_is_preferred():
    assert choose_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_an_unknown_device_is_refused(refuses):
    with refuses(DeviceError, "abacus", "cpu"):
        choose_device("abacus")


def test_a_gpu_beyond_those_there_are_is_refused(refuses):
    with refuses(DeviceError, "cuda:99", str(torch.cuda.device_count())):
        choose_device("cuda:99")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_an_absent_gpu_is_refused(refuses):
    with refuses(DeviceError, "'cuda'", "0 GPUs"):
        choose_device("cuda")


@pytest.mark.parametrize("name", ["meta", "xpu"])
def test_a_device_that_cannot_train_here_is_refused(name, refuses):
    if name == "xpu" and torch.xpu.is_available():
        pytest.skip("there is an XPU here")
    with refuses(DeviceError, name):
        choose_device(name)


def test_a_device_has_a_name():
    assert device_name(torch.device("cpu")).strip()


def test_a_device_error_is_one_of_the_courses():
    assert issubclass(DeviceError, CourseError)
