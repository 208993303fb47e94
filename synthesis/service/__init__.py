"""The service: jobs over HTTP that outlive what carries them out.

The web process and the supervisor import no torch: whatever needs it is a child process.
"""

__all__ = ["app", "client", "places", "references", "server", "settings", "store", "supervisor", "tasks"]
