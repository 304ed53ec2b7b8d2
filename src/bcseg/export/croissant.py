TITLE = ""
CANNOT = ()


def write(job) -> None:
    raise NotImplementedError
