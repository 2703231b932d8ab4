# The worker bundle in workerd, with its settings from the environment. Compiled beside the bundle's two files.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    # The bridge to the database is on this machine.
    (name = "internet", network = (allow = ["public", "private"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:3000", http = (), service = "main")],
);

const worker :Workerd.Worker = (
  compatibilityDate = "2026-04-01",
  modules = [
    (name = "worker.mjs", esModule = embed "worker.mjs"),
    (name = "query-compiler.wasm", wasm = embed "query-compiler.wasm"),
  ],
  bindings = [
    (name = "NODE_ENV", fromEnvironment = "NODE_ENV"),
    (name = "DATABASE_URL", fromEnvironment = "DATABASE_URL"),
    (name = "NEON_WS_PROXY", fromEnvironment = "NEON_WS_PROXY"),
    (name = "AUTH_SECRET", fromEnvironment = "AUTH_SECRET"),
    (name = "LOG_LEVEL", fromEnvironment = "LOG_LEVEL"),
  ],
);
