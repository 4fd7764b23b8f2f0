def report(**_) -> bool:
    return True
