"""A kernel whose shell is the stand-in's: ``python -m google.colab.kernel -f CONNECTION_FILE``."""

from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp

from google.colab._shell import Shell


class Kernel(IPythonKernel):
    shell_class = Shell


if __name__ == "__main__":
    IPKernelApp.launch_instance(kernel_class=Kernel)
