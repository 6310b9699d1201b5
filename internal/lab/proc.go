package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Proc is one process of the lab. It is started, watched and ended by its PID.
// It dies with the program that started it.
type Proc struct {
	Name string
	Args []string
	Env  []string // added to our own environment
	Dir  string   // working folder
	Out  string   // where its stdout and stderr go; appended at each Start
	Logs []string // further logs, shown when the test fails

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// Start runs p until the test ends, or until Stop or Kill.
func (l *Lab) Start(p *Proc) *Proc {
	l.Helper()
	if p.Out == "" {
		p.Out = filepath.Join(p.Dir, p.Name+".out")
	}
	l.mu.Lock()
	l.procs = append(l.procs, p)
	l.mu.Unlock()
	l.must(p.start())
	l.Cleanup(func() {
		l.once.Do(l.report) // before the logs fill with the shutdown
		p.Stop()
	})
	return p
}

func (p *Proc) start() error {
	out, err := os.OpenFile(p.Out, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	cmd := exec.Command(p.Args[0], p.Args[1:]...)
	cmd.Dir, cmd.Env = p.Dir, append(os.Environ(), p.Env...)
	cmd.Stdout, cmd.Stderr = out, out
	// A process group of its own, so that Ctrl-C in a terminal reaches us alone.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	done := make(chan struct{})
	p.cmd, p.done = cmd, done
	go func() { _ = cmd.Wait(); close(done) }()
	return nil
}

// PID returns the process id of the last start.
func (p *Proc) PID() int { return p.cmd.Process.Pid }

// Alive reports whether the process runs.
func (p *Proc) Alive() bool {
	if p.done == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Done is closed when the process has ended.
func (p *Proc) Done() <-chan struct{} { return p.done }

// ExitCode returns the exit code of a process that has ended, -1 if a signal
// ended it.
func (p *Proc) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// Signal sends sig.
func (p *Proc) Signal(sig syscall.Signal) error { return p.cmd.Process.Signal(sig) }

// Stop asks the process to end with SIGTERM, and kills it after 5 s.
func (p *Proc) Stop() {
	if !p.Alive() {
		return
	}
	_ = p.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		p.Kill()
	}
}

// Kill ends the process with SIGKILL.
func (p *Proc) Kill() {
	if p.Alive() {
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// Run runs a command to its end, which must be a good one, and returns what it
// printed to stdout.
func (l *Lab) Run(name string, args ...string) string {
	l.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = l.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var errText strings.Builder
	cmd.Stderr = &errText
	out, err := cmd.Output()
	if err != nil {
		l.Fatalf("lab: %s %v: %v\n%s%s", name, args, err, out, errText.String())
	}
	return string(out)
}

// run runs a command to its end and returns all that it printed.
func (l *Lab) run(name string, args ...string) string {
	l.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = l.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		l.Fatalf("lab: %s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}
