"""`sidecar`, and `python -m sidecar`: finds the command and turns failures into one line."""

from __future__ import annotations

import sys

from sidecar.cli import parse
from sidecar.errors import ConfigError, PolicyError, SidecarError

FAILED = 1
USAGE = 2


def main(argv: list[str] | None = None) -> int:
    """Run one command; return 0 fine, 1 it failed, 2 wrong usage or a policy that does not compile."""
    arguments = parse(sys.argv[1:] if argv is None else argv)
    try:
        result: int = arguments.run(arguments)
    except PolicyError as error:
        print(error, file=sys.stderr)
        return USAGE
    except ConfigError as error:
        print(f"sidecar: {error}", file=sys.stderr)
        return USAGE
    except SidecarError as error:
        print(f"sidecar: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of standard output closed it (`sidecar … | head`): there is nowhere left to write.
        sys.stderr.close()
        return FAILED
    return result


if __name__ == "__main__":
    sys.exit(main())
