"""Write into *.post-deploy.sh what the locks are, for another lock is another environment."""

import hashlib
import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOCKS = ("requirements.lock", "requirements-torch.lock", "envs/clustpy.lock")


def stamp() -> str:
    """Return the SHA-256 of the locks and of what installs them."""
    files = [HERE.parent / name for name in LOCKS] + [HERE / "install.sh"]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


if __name__ == "__main__":
    for script in HERE.glob("*.post-deploy.sh"):
        text = re.sub("^# LOCKS.*", f"# LOCKS {stamp()}", script.read_text(), flags=re.M)
        script.write_text(text)
