//go:build e2e

package e2e

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"drawbridge/internal/lab"
)

// The clock of the machine jumps an hour ahead, two back and one ahead again, as
// when somebody sets it, while everybody talks and links break: only the wall
// clock, as a monotonic one never jumps.
//
// No test may set the machine's clock, and nothing that can be put before a static
// program moves it for that program alone. So the whole bot is built once more,
// from the same sources, with a time package whose Now adds the seconds that a file holds.
func TestFaultClockJumps(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	jump := h.withClock()
	// A key is of no use before it was made.
	jump(-2 * time.Hour)
	for _, old := range []string{"bot.asc", "bot.pub.asc"} {
		h.must(os.Remove(filepath.Join(h.dir, old)))
	}
	h.botKey = h.ok("keys", "generate", "--jid", botJID, "--out", filepath.Join(h.dir, "bot.asc"))
	jump(0)
	tr := newTriangle(h, h.InspIRCd(lab.InspIRCd{Fast: true, History: true}), h.Prosody(lab.Prosody{Archive: true}), 200*time.Millisecond)
	for range soak() {
		for _, to := range []time.Duration{time.Hour, -time.Hour, 0} {
			jump(to)
			tr.load.goesOn(5)
			tr.judge(fmt.Sprintf("clock at %v", to), rule{})
			tr.cut(tr.toIRC, tr.toIRC.Cut, "corp", 5)
			tr.cut(tr.toJab, tr.toJab.Cut, "bot", 5)
			tr.statusShows(", ready")
			tr.judge(fmt.Sprintf("links cut at %v", to), rule{})
		}
		// What waits while the clock jumps is as old as the clock says, and comes.
		tr.toIRC.Cut()
		tr.legIsDown("corp")
		tr.load.goesOn(3)
		jump(time.Hour)
		tr.load.goesOn(3)
		tr.toIRC.Restore()
		tr.judge("clock jumps while lines wait", rule{})
		tr.bot.Kill()
		jump(0)
		tr.bot = h.start()
		tr.statusShows(", ready")
		tr.judge("clock jumps while the bot is dead", rule{})
	}
	if shift := strings.Contains(h.log(), time.Now().Add(time.Hour).UTC().Format("2006-01-02T15")); !shift {
		t.Error("nothing in the log is an hour ahead: did the clock jump?")
	}
}

// withClock has the house run the program with a wall clock that the test moves, and
// returns what moves it: to that much before or after the true time.
func (h *house) withClock() (jump func(to time.Duration)) {
	h.t.Helper()
	clock, err := os.Create(filepath.Join(h.dir, "clock")) // eight bytes that the bot has mapped
	h.must(err)
	h.t.Cleanup(func() { _ = clock.Close() })
	jump = func(to time.Duration) {
		h.t.Helper()
		_, err := clock.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(to/time.Second)), 0)
		h.must(err)
	}
	jump(0)
	built.Do(func() { withClock, builtErr = buildWithClock(filepath.Dir(program)) })
	h.must(builtErr)
	h.binary, h.env = withClock, []string{"LAB_CLOCK=" + clock.Name()}
	return jump
}

// The program with a clock is built once, beside the other.
var (
	built     sync.Once
	withClock string
	builtErr  error
)

// buildWithClock builds the program with a wall clock that the file $LAB_CLOCK
// moves.
func buildWithClock(dir string) (string, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	src := filepath.Join(strings.TrimSpace(string(out)), "src", "time")
	b, err := os.ReadFile(filepath.Join(src, "time.go"))
	if err != nil {
		return "", err
	}
	const reads = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	moved := strings.Replace(string(b), reads, reads+"\tsec += labShift()\n", 1)
	if moved == string(b) {
		return "", errors.New("time.Now of this Go reads the clock in another way: change this test")
	}
	services, err := filepath.Abs("../../irc/services.go")
	if err != nil {
		return "", err
	}
	if b, err = os.ReadFile(services); err != nil {
		return "", err
	}
	// The minute after services are back is one of the wall clock there.
	const settles = "s.now.Add(servicesSettle)"
	settled := strings.ReplaceAll(string(b), settles, settles+".Round(0)")
	if settled == string(b) {
		return "", errors.New("the irc leg waits for services in another way: change this test")
	}
	files := map[string]string{filepath.Join(src, "time.go"): moved, filepath.Join(src, "lab_clock.go"): labClock, services: settled}
	replace := map[string]string{}
	for name, text := range files {
		file := filepath.Join(dir, filepath.Base(name))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[name] = file
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file, built := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "drawbridge-clock")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		return "", err
	}
	if out, err := exec.Command("go", "build", "-overlay", file, "-o", built, "drawbridge/cmd/drawbridge").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return built, nil
}

// labClock is the rest of the time package of that build.
const labClock = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

var labSeconds = labMap()

func labMap() *int64 {
	name, _ := syscall.Getenv("LAB_CLOCK")
	fd, err := syscall.Open(name, syscall.O_RDONLY, 0)
	if err != nil {
		return new(int64)
	}
	b, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	return (*int64)(unsafe.Pointer(&b[0]))
}

// labShift makes no system call: the runtime asks for the time where none may be.
func labShift() int64 { return atomic.LoadInt64(labSeconds) }
`
