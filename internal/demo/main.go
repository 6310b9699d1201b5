// Command demo shows Drawbridge at work on this machine, in under a minute: a
// real IRC server, a real XMPP server, a scripted person on IRC and a real
// profanity with gpg, and between the two the stanza as the Jabber server sees
// it. Everything lies in one temporary folder, listens on 127.0.0.1 only, and is
// gone at the end. With KEEP=1 it stays until Ctrl-C, and one can join.
//
// Run it with `make demo`, which builds bin/drawbridge and installs what is
// missing.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"

	"drawbridge/internal/lab"
)

func main() { os.Exit(run()) }

func run() int {
	program, err := filepath.Abs("bin/drawbridge")
	if err == nil {
		_, err = os.Stat(program)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err, "\nrun `make demo` from the project's folder")
		return 1
	}
	s := &stage{screen: newScreen(os.Stdout)}
	defer s.end()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	done := make(chan bool, 1) // true when the play came to its end
	go func() {
		ended := false
		defer func() { done <- ended }() // also after Fatalf
		p := &cast{Lab: lab.New(s), screen: s.screen, program: program}
		p.play()
		if keep := os.Getenv("KEEP"); keep != "" && keep != "0" {
			p.invite()
			<-ctx.Done()
		}
		ended = true
	}()
	select {
	case ended := <-done:
		if !ended {
			return 1
		}
	case <-ctx.Done():
	}
	s.screen.line("cleaning up.")
	return 0
}

// stage is the lab.TB of a plain program: what is to be cleaned up, and how to
// give up.
type stage struct {
	screen *screen

	mu      sync.Mutex // guards what follows
	cleanup []func()
	failed  bool
}

// Helper does nothing.
func (s *stage) Helper() {}

// Logf prints.
func (s *stage) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// Fatalf prints why, and ends the play.
func (s *stage) Fatalf(format string, args ...any) {
	s.mu.Lock()
	s.failed = true
	s.mu.Unlock()
	fmt.Fprintf(os.Stderr, "\ndemo: "+format+"\n", args...)
	runtime.Goexit()
}

// Failed reports whether Fatalf was called.
func (s *stage) Failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// Cleanup keeps f for the end.
func (s *stage) Cleanup(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanup = append(s.cleanup, f)
}

// end cleans up, the latest first: each process is ended by its PID.
func (s *stage) end() {
	for {
		s.mu.Lock()
		fs := s.cleanup
		s.cleanup = nil
		s.mu.Unlock()
		if len(fs) == 0 {
			return
		}
		for _, f := range slices.Backward(fs) {
			f()
		}
	}
}
