// Package e2e runs the real program between real servers and real clients, and
// asserts what people see on the other side. One file holds one scenario;
// house_test.go holds what they share. It needs what `make deps` installs.
//
// This file is the judge of the fault scenarios: people say numbered lines while
// servers, links and the bot die, and the judge compares what others read with
// what was said.
package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// numberedLine is how a line of the load looks in whatever a reader shows.
var numberedLine = regexp.MustCompile(`\bload ([a-z0-9]+) (\d{6})\b`)

// loadLine is the n-th line of a sender, from 1.
func loadLine(sender string, n int) string { return fmt.Sprintf("load %s %06d", sender, n) }

// parseLoadLine finds sender and number in what a reader shows.
func parseLoadLine(text string) (sender string, n int, ok bool) {
	m := numberedLine.FindStringSubmatch(text)
	if m == nil {
		return "", 0, false
	}
	n, _ = strconv.Atoi(m[2])
	return m[1], n, true
}

// verdict is what became of one sender's lines at one reader.
type verdict struct {
	Said  int
	Lost  []int // never read
	Twice []int // read again, once for each time too many
	Late  []int // first read after one that was said later
}

// judge compares the numbers read, in the order of reading, with those said: from
// first to said. Any other number counts as read twice: it was read in an earlier
// round, or nobody said it.
func judge(first, said int, read []int) verdict {
	v := verdict{Said: said - first + 1}
	seen := make([]bool, said+1)
	last := 0
	for _, n := range read {
		switch {
		case n < first || n > said || seen[n]:
			v.Twice = append(v.Twice, n)
			continue
		case n < last:
			v.Late = append(v.Late, n)
		}
		seen[n] = true
		last = max(last, n)
	}
	for n := first; n <= said; n++ {
		if !seen[n] {
			v.Lost = append(v.Lost, n)
		}
	}
	return v
}

// excuse takes lines out of Lost that nobody had any more, and returns how many.
func (v *verdict) excuse(gone map[int]bool) int {
	before := len(v.Lost)
	v.Lost = slices.DeleteFunc(v.Lost, func(n int) bool { return gone[n] })
	return before - len(v.Lost)
}

// good reports whether every line was read once and in order.
func (v verdict) good() bool { return len(v.Lost)+len(v.Twice)+len(v.Late) == 0 }

// String names the lines that went wrong, some of them.
func (v verdict) String() string {
	return fmt.Sprintf("said %d, lost %s, twice %s, late %s", v.Said, runs(v.Lost), runs(v.Twice), runs(v.Late))
}

// runs shows numbers as runs: "3 (4-5 9)".
func runs(nums []int) string {
	if len(nums) == 0 {
		return "0"
	}
	var parts []string
	for i := 0; i < len(nums); {
		j := i
		for j+1 < len(nums) && nums[j+1] == nums[j]+1 {
			j++
		}
		if j == i {
			parts = append(parts, strconv.Itoa(nums[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", nums[i], nums[j]))
		}
		i = j + 1
	}
	if len(parts) > 12 {
		parts = append(parts[:12], "…")
	}
	return fmt.Sprintf("%d (%s)", len(nums), strings.Join(parts, " "))
}
