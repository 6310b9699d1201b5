package config

import (
	"fmt"
	"strings"
)

// Pos is a place in the configuration. Line 0 means the file as a whole, or a
// variable of the environment, whose name File then is.
type Pos struct {
	File      string
	Line, Col int
}

// String returns "file:line", or the file alone.
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Error is one thing wrong with the configuration.
type Error struct {
	Pos  Pos
	Key  string // key path, as "bridges.dev.irc[0].channel"; "" for the whole file
	What string // what is wrong; never a secret
	Fix  string // what to do, "" where nothing needs saying
}

// Error returns "file:line: key: what; fix: …".
func (e Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Pos.String())
	b.WriteString(": ")
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.What)
	if e.Fix != "" {
		b.WriteString("; fix: " + e.Fix)
	}
	return b.String()
}

// Errors are all things wrong with the configuration, in the order of the file.
type Errors []Error

// Error returns one line for each error.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Pos returns where the value with the given key path stands, as
// "bridges.dev.xmpp.people[1]"; the place of the nearest value above it where it
// is not in the file.
func (c *Config) Pos(key string) Pos {
	for {
		if p, ok := c.pos[key]; ok {
			return p
		}
		i := strings.LastIndexAny(key, ".[")
		if i < 0 {
			return Pos{File: c.File}
		}
		key = key[:i]
	}
}

// Errorf returns an Error at the value with the given key path, for what only a
// keyring or a server can tell.
func (c *Config) Errorf(key, fix, format string, args ...any) Error {
	return Error{Pos: c.Pos(key), Key: key, What: fmt.Sprintf(format, args...), Fix: fix}
}
