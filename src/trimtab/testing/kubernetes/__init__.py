"""An API server for tests: real HTTP on loopback, true where operators need it. Start at `server.KubernetesApi`."""
