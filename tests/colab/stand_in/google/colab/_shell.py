from ipykernel.zmqshell import ZMQInteractiveShell


class Shell(ZMQInteractiveShell):
    """As Colab's, ``str(get_ipython())`` names it ``google.colab._shell.Shell``."""
