package e2e

import "testing"

func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		name string
		said int
		read []int
		want string
	}{
		{"all well", 3, []int{1, 2, 3}, "said 3, lost 0, twice 0, late 0"},
		{"one lost", 3, []int{1, 3}, "said 3, lost 1 (2), twice 0, late 0"},
		{"the last ones lost", 5, []int{1, 2}, "said 5, lost 3 (3-5), twice 0, late 0"},
		{"nothing came", 2, nil, "said 2, lost 2 (1-2), twice 0, late 0"},
		{"one twice at once", 3, []int{1, 2, 2, 3}, "said 3, lost 0, twice 1 (2), late 0"},
		{"one again, later", 3, []int{1, 2, 3, 1}, "said 3, lost 0, twice 1 (1), late 0"},
		{"thrice", 1, []int{1, 1, 1}, "said 1, lost 0, twice 2 (1 1), late 0"},
		{"two swapped", 4, []int{1, 3, 2, 4}, "said 4, lost 0, twice 0, late 1 (2)"},
		{"one far too late", 4, []int{2, 3, 4, 1}, "said 4, lost 0, twice 0, late 1 (1)"},
		{"never said", 2, []int{1, 2, 7}, "said 2, lost 0, twice 1 (7), late 0"},
		{"everything at once", 5, []int{2, 1, 2, 5}, "said 5, lost 2 (3-4), twice 1 (2), late 1 (1)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := judge(1, tt.said, tt.read)
			if got := v.String(); got != tt.want {
				t.Errorf("got %s; want %s", got, tt.want)
			}
			if v.good() != (tt.name == "all well") {
				t.Errorf("good is %v", v.good())
			}
		})
	}
	if v := judge(3, 5, []int{3, 2, 5}); v.String() != "said 3, lost 1 (4), twice 1 (2), late 0" {
		t.Errorf("a second round: %s", v)
	}
	v := judge(1, 4, []int{1, 4})
	if n := v.excuse(map[int]bool{2: true, 1: true}); n != 1 || v.String() != "said 4, lost 1 (3), twice 0, late 0" {
		t.Errorf("excused %d: %s", n, v)
	}
}

func TestLoadLine(t *testing.T) {
	for _, tt := range []struct {
		text   string
		sender string
		n      int
		ok     bool
	}{
		{loadLine("carl", 17), "carl", 17, true},
		{"<carl@irc> load carl 000017", "carl", 17, true},
		{"<carl@irc> [14:02] load carl 000017", "carl", 17, true},
		{"load of hay", "", 0, false},
		{"reload carl 000017", "", 0, false},
	} {
		if sender, n, ok := parseLoadLine(tt.text); sender != tt.sender || n != tt.n || ok != tt.ok {
			t.Errorf("parseLoadLine(%q) = %q, %d, %v", tt.text, sender, n, ok)
		}
	}
}
