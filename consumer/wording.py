"""What failed at a socket, in a few words that may be shown to anyone."""

import socket
import ssl


def explain(error: OSError) -> str:
    """Say in a few words what failed: never an address, a URL or anything that the other side sent.

    Of a certificate that does not fit, OpenSSL names the host that was asked for.
    """
    match error:
        case ssl.SSLCertVerificationError():
            return f"TLS: certificate refused: {error.verify_message}"
        case ssl.SSLError():
            # One that Python raises by itself has no reason
            reason = getattr(error, "reason", None) or "handshake failed"
            return f"TLS: {reason.replace('_', ' ').lower()}"
        case socket.gaierror():
            return f"host not found: {error.strerror}"
        case _:
            return error.strerror or type(error).__name__
