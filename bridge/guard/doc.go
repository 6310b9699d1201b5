// Package guard holds rooms: it hears from the legs who is there (bridge.Watcher),
// asks package policy, and has the legs change what has to change
// (bridge.Enforcer): first the servers' own locks, then those who slipped through,
// then what others changed. It says by bridge.Gate what may be relayed. Every act is
// in the audit with its rule and facts, and never with text that somebody said.
package guard
