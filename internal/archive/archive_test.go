package archive

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding/charmap"
)

// logs of each program, as they write them.
const (
	irssiLog = `--- Log opened Mon Jan 15 12:34:56 2024
12:34 -!- alice [a@host.example] has joined #ops
12:34 <@alice> h` + "\xe9" + `llo ` + "\x0304,05red\x0f" + ` world
12:35 < bob> fine > all
12:36  * bob nods twice
12:40 -carol:#ops- careful
12:41 !irc.example *** a server speaks
--- Day changed Di Jan 16 2024
00:01 <+alice> deploy now
12:59 <alice> 
--- Log closed Tue Jan 16 13:00:00 2024
`
	weechatLog = "2024-03-01 10:00:00\t@alice\thello\twith a tab\n" +
		"2024-03-01 10:00:01\t-->\tbob (b@h) has joined #wee\n" +
		"2024-03-01 10:00:02\t *\tbob does deploy\n" +
		"2024-03-02 00:00:00\t--\tMode #wee [+o bob] by alice\n"
	zncLog = "[23:59:58] <alice> good night\n[23:59:59] * bob waves\n[23:59:59] *** Quits: eve (e@h) (bye)\n[23:59:59] -carol- notice\n"
)

// say writes lines as the tests tell them.
func say(lines []Line) string {
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "%s %s %s|%s|%s", l.Day, l.Time, [...]string{"said", "action", "notice", "event"}[l.Kind], l.Nick, l.Text)
		if l.Odd {
			b.WriteString(" (odd)")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func readAll(t testing.TB, f Format, day, in string) ([]Line, Counts) {
	t.Helper()
	var n Counts
	r := newReader(strings.NewReader(in), f, charmap.Windows1252, day, &n)
	var out []Line
	for {
		l, err := r.next()
		if errors.Is(err, io.EOF) {
			return out, n
		} else if err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
}

var formats = []struct {
	name     string
	f        Format
	day, in  string
	want     string
	detected bool // by the log alone
}{
	{"irssi", Irssi, "", irssiLog, `2024-01-15 12:34 event||alice [a@host.example] has joined #ops
2024-01-15 12:34 said|alice|héllo red world
2024-01-15 12:35 said|bob|fine > all
2024-01-15 12:36 action|bob|nods twice
2024-01-15 12:40 notice|carol|careful
2024-01-15 12:41 event||!irc.example *** a server speaks
2024-01-16 00:01 said|alice|deploy now
2024-01-16 12:59 said|alice|
`, true},
	{"irssi with dates and seconds", Irssi, "", "--- Log opened Mon Jan 15 12:34:56 2024\n[2024-05-06 07:08:09] <alice> x\n", "2024-05-06 07:08:09 said|alice|x\n", true},
	{"irssi past midnight without a word", Irssi, "2024-02-28", "23:50 <a> one\n00:10 <a> two\n03:00 <a> three\n02:10 <a> summer time ends\n00:05 <a> that is no new day\n", `2024-02-28 23:50 said|a|one
2024-02-29 00:10 said|a|two
2024-02-29 03:00 said|a|three
2024-02-29 02:10 said|a|summer time ends
2024-02-29 00:05 said|a|that is no new day
`, true},
	{"irssi without any date", Irssi, "", "12:00 <a> one\nno line of a log\n12:01 <a> two\n", " 12:00 said|a|one\n 12:00 event||no line of a log (odd)\n 12:01 said|a|two\n", true},
	{"weechat", WeeChat, "", weechatLog, `2024-03-01 10:00:00 said|alice|hello with a tab
2024-03-01 10:00:01 event||bob (b@h) has joined #wee
2024-03-01 10:00:02 action|bob|does deploy
2024-03-02 00:00:00 event||Mode #wee [+o bob] by alice
`, true},
	{"weechat with fractions and a zone", WeeChat, "", "2024-03-01T10:00:00.123456+0100\talice\thi\n", "2024-03-01 10:00:00 said|alice|hi\n", true},
	{"znc", ZNC, "2024-01-31", zncLog, `2024-01-31 23:59:58 said|alice|good night
2024-01-31 23:59:59 action|bob|waves
2024-01-31 23:59:59 event||Quits: eve (e@h) (bye)
2024-01-31 23:59:59 notice|carol|notice
`, true},
	{
		"nicks and text that look like more", ZNC, "2024-01-31", "[10:00:00] <[a]> <b> c\n[10:00:01] <a> [10:00:02] <z> forged\n[10:00:03] <two words> x\n",
		"2024-01-31 10:00:00 said|[a]|<b> c\n2024-01-31 10:00:01 said|a|[10:00:02] <z> forged\n2024-01-31 10:00:01 event||[10:00:03] <two words> x (odd)\n", true,
	},
	{"control codes and turned text", ZNC, "2024-01-31", "[10:00:00] <a> \x02b\x02\x0312\x1f,\x03,\x04ff0000h\x1b[31m\u202eevil\u2066\x00end\n", "2024-01-31 10:00:00 said|a|b,,h[31mevilend\n", true},
	{"a line of no time", ZNC, "2024-01-31", "[25:00:00] <a> x\n[10:61:00] <a> x\n", "2024-01-31  event||[25:00:00] <a> x (odd)\n2024-01-31  event||[10:61:00] <a> x (odd)\n", false},
}

func TestFormats(t *testing.T) {
	for _, tt := range formats {
		t.Run(tt.name, func(t *testing.T) {
			lines, _ := readAll(t, tt.f, tt.day, tt.in)
			if got := say(lines); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
			if !tt.detected {
				return
			}
			if got, err := detect(strings.Split(tt.in, "\n")); got != tt.f {
				t.Errorf("detect = %s, %v, want %s", got, err, tt.f)
			}
		})
	}
}

func TestNoLogIsSaid(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "notes.txt", "Dear all,\nthis is a letter.\n[x]\n")
	put(t, dir, "empty.log", "")
	_, err := Open([]string{filepath.Join(dir, "notes.txt"), filepath.Join(dir, "empty.log")}, Options{})
	if err == nil || !strings.Contains(err.Error(), "notes.txt: is no log of irssi, WeeChat or ZNC: of 3 lines at its start 0 can be read") || strings.Contains(err.Error(), "empty.log") {
		t.Errorf("err = %v", err)
	}
	if _, err := Open([]string{filepath.Join(dir, "empty.log")}, Options{}); !errors.Is(err, ErrNoLogs) {
		t.Errorf("err = %v, want ErrNoLogs", err)
	}
	if _, err := Open([]string{filepath.Join(dir, "nowhere")}, Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("err = %v", err)
	}
}

// Of a folder only logs of channels are taken: what was said to one alone is not for
// all. Who names a file means it.
func TestPrivateTalkIsLeftOut(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "corp/#dev.log", irssiLog)
	put(t, dir, "corp/bob.log", irssiLog)
	put(t, dir, "znc/carol/2024-01-31.log", zncLog)
	put(t, dir, "wee/irc.server.libera.weechatlog", weechatLog)
	a, err := Open([]string{dir}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := a.Channels(); !slices.Equal(got, []string{"#dev"}) || len(a.Skipped) != 3 {
		t.Errorf("channels %q, skipped %q", got, a.Skipped)
	}
	if a, err = Open([]string{filepath.Join(dir, "corp/bob.log")}, Options{}); err != nil || len(a.Channels()) != 1 {
		t.Errorf("bob.log, by its name: %v, %v", a, err)
	}
	if _, err := Open([]string{filepath.Join(dir, "znc")}, Options{}); !errors.Is(err, ErrNoLogs) {
		t.Errorf("a folder of private talk: %v", err)
	}
}

func TestLongLinesAreCut(t *testing.T) {
	in := "[10:00:00] <a> " + strings.Repeat("ä", maxLine) + "\n[10:00:01] <a> next\n"
	lines, n := readAll(t, ZNC, "2024-01-31", in)
	if len(lines) != 2 || n.Cut != 1 || n.Recoded != 0 || lines[1].Text != "next" || !strings.HasSuffix(lines[0].Text, "ä") {
		t.Errorf("%d lines, %+v", len(lines), n)
	}
}

func TestCharsets(t *testing.T) {
	for name, want := range map[string]string{"windows-1252": "é", "ISO 8859-2": "é", "koi8-r": "И", "cp1251": "й", "latin1": "é"} {
		m, known := Charset(name)
		if m == nil {
			t.Errorf("%s is not one of %v", name, known)
			continue
		}
		if got := decode(m, "\xe9"); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if m, known := Charset("utf-7"); m != nil || !slices.Contains(known, "windows-1252") {
		t.Errorf("utf-7: %v, %v", m, known)
	}
}

func TestZones(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skipf("this machine knows no time zones: %v", err)
	}
	move := zones(berlin, time.UTC)
	for _, tt := range [][4]string{
		{"2024-01-01", "00:30", "2023-12-31", "23:30"},
		{"2024-07-01", "12:00:07", "2024-07-01", "10:00:07"},
		{"2024-07-01", "23:59:60", "2024-07-01", "23:59:60"}, // a leap second stays
	} {
		if day, clock := move(tt[0], tt[1]); day != tt[2] || clock != tt[3] {
			t.Errorf("%s %s is %s %s, want %s %s", tt[0], tt[1], day, clock, tt[2], tt[3])
		}
	}
	if zones(berlin, nil) != nil {
		t.Error("times are moved where nobody asked")
	}
}

func put(t testing.TB, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// team writes a folder of logs of all kinds.
func team(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, "znc/#dev/2024-02-01.log", "[00:00:01] <eve> </p><img src=x onerror=alert(1)> deploy finished\n[00:00:02] <\"'&> & <b>\n")
	put(t, dir, "znc/#dev/2024-01-31.log", zncLog)
	put(t, dir, "irssi/#ops.log", irssiLog)
	put(t, dir, "wee/irc.libera.#wee.weechatlog", weechatLog)
	put(t, dir, ".hidden/x.log", zncLog)
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = w.Write([]byte("[08:00:00] <alice> packed\n"))
	_ = w.Close()
	put(t, dir, "znc/#dev/2023-12-31.log.gz", z.String())
	return dir
}

func pageOf(t testing.TB, opt Options, paths ...string) (string, Counts) {
	t.Helper()
	a, err := Open(paths, opt)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	n, err := a.Write(t.Context(), &b)
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), n
}

// The page is the same whatever the order in which logs are named, in the order of
// channels and days, and nothing of a log is more than text.
func TestPage(t *testing.T) {
	dir := team(t)
	page, n := pageOf(t, Options{From: time.UTC}, dir)
	again, _ := pageOf(t, Options{From: time.UTC}, filepath.Join(dir, "znc"), filepath.Join(dir, "wee"), filepath.Join(dir, "irssi"))
	if page != again {
		t.Error("another order of the logs makes another page")
	}
	at := -1
	for _, want := range []string{
		"Archive of #dev, #ops, libera.#wee", "in UTC.", "<h2>#dev</h2>", "<h3>2023-12-31</h3>", "packed", "<h3>2024-01-31</h3>", "good night", "<h3>2024-02-01</h3>", "deploy finished",
		"<h2>#ops</h2>", "<h3>2024-01-15</h3>", "héllo red world", "<h2>libera.#wee</h2>", "</html>",
	} {
		i := strings.Index(page, want)
		if i <= at {
			t.Errorf("%q stands at %d, not after %d", want, i, at)
		}
		at = i
	}
	for _, bad := range []string{"<img", "<b>\n", "onerror=alert(1)>", `"'&`, "http://", "https://", "src=", "href="} {
		if strings.Contains(strings.ReplaceAll(page, "img src=x onerror=alert(1)&gt;", ""), bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	if !strings.Contains(page, "default-src 'none'; style-src 'sha256-") || strings.Count(page, "<script") != 1 || strings.Count(page, "<style") != 1 {
		t.Error("the page's policy, script or style is not as it should be")
	}
	if n.Files != 5 || n.Lines != 19 || n.Odd != 0 || n.Recoded != 1 {
		t.Errorf("counts = %+v", n)
	}
	cut, _ := pageOf(t, Options{Since: "2024-01-16", Until: "2024-02-01"}, dir)
	if strings.Contains(cut, "packed") || strings.Contains(cut, "héllo") || strings.Contains(cut, "libera") && strings.Contains(cut, "<h2>libera") || !strings.Contains(cut, "good night") {
		t.Error("the span of days is not kept")
	}
}

// flow is a log of any length that is made as it is read.
type flow struct{ left int }

func (f *flow) Read(p []byte) (int, error) {
	const line = "12:34 <@alice> what was said on a long day, and on the next\n"
	n := 0
	for n+len(line) <= len(p) && f.left > 0 {
		n += copy(p[n:], line)
		f.left -= len(line)
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// A log of 24 MiB takes no more memory than one of a few lines.
func TestMemoryIsBounded(t *testing.T) {
	var n Counts
	r := newReader(&flow{24 << 20}, Irssi, charmap.Windows1252, "2024-01-31", &n)
	p := newPage(io.Discard, "x", "")
	most := uint64(0)
	var m runtime.MemStats
	for i := 0; ; i++ {
		l, err := r.next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		p.line(l)
		if i%50_000 == 25_000 {
			runtime.GC()
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	if n.Lines < 400_000 || most > 16<<20 {
		t.Errorf("%d lines, %d MiB", n.Lines, most>>20)
	}
}

// FuzzLog: no log breaks the reader, and none breaks out of the page.
func FuzzLog(f *testing.F) {
	for _, tt := range formats {
		f.Add(tt.in, tt.day)
	}
	f.Add("[10:00:00] <a> \x03\x04\x03,\xff\xfe\n", "x")
	f.Fuzz(func(t *testing.T, in, day string) {
		if !isDate(day) {
			day = ""
		}
		_, _ = detect(strings.Split(in, "\n"))
		for _, format := range Formats() {
			lines, n := readAll(t, format, day, in)
			if n.Lines != len(lines) {
				t.Fatalf("%d lines, counted %d", len(lines), n.Lines)
			}
			var b bytes.Buffer
			p := newPage(&b, "t", "a")
			empty := b.Len()
			for _, l := range lines {
				if l.Day != "" && !isDate(l.Day) {
					t.Fatalf("day %q", l.Day)
				}
				if strings.ContainsFunc(l.Nick+l.Text, hidden) {
					t.Fatalf("%q holds what should be hidden", l.Nick+l.Text)
				}
				p.line(l)
			}
			if err := p.end(); err != nil {
				t.Fatal(err)
			}
			// Only what the page itself writes begins a tag.
			if body := b.String()[min(empty, b.Len()):]; strings.Count(body, "<p") != len(lines) || strings.Count(body, "<script") != 1 {
				t.Fatalf("%d lines make\n%s", len(lines), body)
			}
		}
	})
}
