package main

import (
	"io"
	"log/slog"
)

// newLogger returns a logger in the given format ("text" or "json"), whose level
// can be changed while it is used.
func newLogger(w io.Writer, format, level string) (*slog.Logger, *slog.LevelVar) {
	lv := new(slog.LevelVar)
	lv.Set(logLevel(level))
	opt := &slog.HandlerOptions{Level: lv}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, opt)), lv
	}
	return slog.New(slog.NewTextHandler(w, opt)), lv
}

// logLevel is the level of that name; info for none.
func logLevel(name string) slog.Level {
	var l slog.Level
	if err := l.UnmarshalText([]byte(name)); err != nil {
		return slog.LevelInfo
	}
	return l
}

// newQuiet returns a logger that says nothing.
func newQuiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
