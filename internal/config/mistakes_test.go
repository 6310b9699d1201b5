package config

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"drawbridge/bridge"
)

var update = flag.Bool("update", false, "write what Load says into testdata/mistakes.txt")

// mistake is one row of testdata/mistakes.txt.
type mistake struct {
	name           string
	old, new, want []string
}

func readMistakes(t testing.TB) []mistake {
	t.Helper()
	data, err := os.ReadFile("testdata/mistakes.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out []mistake
	for line := range strings.Lines(string(data)) {
		kind, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		m := &mistake{}
		if len(out) > 0 {
			m = &out[len(out)-1]
		}
		switch kind {
		case "==":
			out = append(out, mistake{name: rest})
		case "-":
			m.old = append(m.old, rest)
		case "+":
			m.new = append(m.new, rest)
		case "!":
			m.want = append(m.want, rest)
		case "", "#":
		default:
			t.Fatalf("testdata/mistakes.txt: what is %q?", line)
		}
	}
	return out
}

// make makes the mistake.
func (m mistake) make(t testing.TB) string {
	t.Helper()
	return edit(t, good, strings.Join(m.old, "\n"), strings.Join(m.new, "\n"))
}

// Each mistake is told in these words, and nothing else is.
func TestMistakes(t *testing.T) {
	list := readMistakes(t)
	for i, m := range list {
		t.Run(m.name, func(t *testing.T) {
			_, got := load(t, home(t), m.make(t), Options{CheckTemplate: bridge.CheckTemplate})
			for _, line := range got {
				if strings.Contains(line, "hunter2") {
					t.Errorf("a secret is told: %s", line)
				}
			}
			list[i].want = got
			if !*update && !slices.Equal(got, m.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(m.want, "\n"))
			}
			if len(got) == 0 {
				t.Error("Load finds nothing wrong")
			}
		})
	}
	if *update {
		writeMistakes(t, list)
	}
}

// writeMistakes puts the wants into the file, whose other lines stay.
func writeMistakes(t *testing.T, list []mistake) {
	t.Helper()
	data, err := os.ReadFile("testdata/mistakes.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	n := -1
	flush := func() {
		if n >= 0 {
			for _, w := range list[n].want {
				out.WriteString("! " + w + "\n")
			}
		}
	}
	for line := range strings.Lines(string(data)) {
		switch {
		case strings.HasPrefix(line, "! "):
			continue
		case strings.HasPrefix(line, "== "):
			flush()
			n++
		case line == "\n" && n >= 0:
			flush()
			list[n].want = nil
		}
		out.WriteString(line)
	}
	flush()
	write(t, "testdata/mistakes.txt", out.String(), 0o644)
}
