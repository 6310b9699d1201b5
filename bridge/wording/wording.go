// Package wording holds what people on their way off IRC are told, by language: all that
// !move says, what is asked and answered as accounts are linked, and what all of a channel
// are told. It is one file of texts, which an edited or translated copy may stand for.
package wording

import (
	_ "embed" // texts.yaml
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"
)

// Source is the file that the program brings: all that is ever said, in each language.
// An edited copy takes its place (config key migration.BRIDGE.texts).
//
//go:embed texts.yaml
var Source []byte

// Texts is all that is said, by language and key.
type Texts struct{ by map[string]map[string]string }

// Problem is what is wrong with a file of texts.
type Problem struct {
	Line int // 0: the file as a whole
	What string
}

const (
	maxTexts = 256 << 10 // bytes of a file
	maxLangs = 32
)

var (
	placeholder = regexp.MustCompile(`\{[a-z]+\}`)
	// braces are what looks like a placeholder, and may be a misspelt one.
	braces   = regexp.MustCompile(`\{[^{}]*\}`)
	language = regexp.MustCompile(`^[a-z]{2,20}$`)
)

// Builtin returns the texts that the program brings.
func Builtin() *Texts { return builtin() }

var builtin = sync.OnceValue(func() *Texts {
	t, bad := read(Source, nil)
	if len(bad) > 0 {
		panic(fmt.Sprintf("wording: texts.yaml:%d: %s", bad[0].Line, bad[0].What)) // the program's own
	}
	return t
})

// Parse reads a file of texts. Each language must have the keys of the program's
// English, with their placeholders. All that is wrong is returned at once, by line.
func Parse(data []byte) (*Texts, []Problem) {
	return read(data, Builtin().by[English])
}

// lists are the keys that hold so many words.
var lists = map[string]int{"all_weekdays": 7, "all_months": 12}

// English is the language whose keys are those that there have to be.
const English = "english"

// read reads data; with nil, its own English says what there has to be.
func read(data []byte, want map[string]string) (*Texts, []Problem) {
	if len(data) > maxTexts {
		return nil, []Problem{{What: fmt.Sprintf("is larger than %d KiB", maxTexts>>10)}}
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, []Problem{{What: "is not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}}
	}
	if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, []Problem{{What: "must be a mapping of languages"}}
	}
	p := reading{want: want, t: &Texts{map[string]map[string]string{}}}
	root := doc.Content[0].Content
	if p.want == nil {
		p.want = map[string]string{}
		for i := 0; i+1 < len(root); i += 2 {
			if root[i].Value == English {
				_ = root[i+1].Decode(&p.want) // what is wrong with it is found below
			}
		}
	}
	for i := 0; i+1 < len(root) && i < 2*maxLangs; i += 2 {
		p.language(root[i], root[i+1])
	}
	if p.t.by[English] == nil {
		p.bad(0, "has no %s", English)
	}
	if len(p.wrong) > 0 {
		slices.SortStableFunc(p.wrong, func(a, b Problem) int { return a.Line - b.Line })
		return nil, p.wrong
	}
	return p.t, nil
}

type reading struct {
	want  map[string]string
	t     *Texts
	wrong []Problem
}

func (p *reading) bad(line int, format string, args ...any) {
	p.wrong = append(p.wrong, Problem{line, fmt.Sprintf(format, args...)})
}

// language reads one language.
func (p *reading) language(name, body *yaml.Node) {
	switch {
	case !language.MatchString(name.Value):
		p.bad(name.Line, "%.40q is no name of a language: small letters, as in deutsch", name.Value)
		return
	case p.t.by[name.Value] != nil:
		p.bad(name.Line, "%s stands twice", name.Value)
		return
	case body.Kind != yaml.MappingNode:
		p.bad(body.Line, "%s must be a mapping of keys to texts", name.Value)
		return
	}
	have := map[string]string{}
	p.t.by[name.Value] = have
	for i := 0; i+1 < len(body.Content); i += 2 {
		key, text := body.Content[i], body.Content[i+1]
		want, known := p.want[key.Value]
		_, twice := have[key.Value]
		switch {
		case !known:
			p.bad(key.Line, "%s: unknown key %.40q", name.Value, key.Value)
			continue
		case twice:
			p.bad(key.Line, "%s: %s stands twice", name.Value, key.Value)
			continue
		case text.Kind != yaml.ScalarNode || strings.TrimSpace(text.Value) == "":
			p.bad(text.Line, "%s: %s is no text", name.Value, key.Value)
		case strings.HasPrefix(key.Value, "all_") && strings.Contains(strings.TrimSpace(text.Value), "\n"):
			p.bad(text.Line, "%s: %s must be one line", name.Value, key.Value)
		default:
			p.placeholders(name.Value, key, text.Value, want)
			if most := lists[key.Value]; most > 0 && len(strings.Split(text.Value, ",")) != most {
				p.bad(key.Line, "%s: %s must be %d words with a comma between them", name.Value, key.Value, most)
			}
		}
		have[key.Value] = strings.TrimSpace(text.Value)
	}
	for _, key := range slices.Sorted(maps.Keys(p.want)) {
		if _, ok := have[key]; !ok {
			p.bad(name.Line, "%s lacks %s", name.Value, key)
		}
	}
}

// placeholders compares those of a text with those that there have to be.
func (p *reading) placeholders(lang string, key *yaml.Node, text, want string) {
	have, need := used(text), used(want)
	for _, x := range need {
		if !slices.Contains(have, x) {
			p.bad(key.Line, "%s: %s lacks %s", lang, key.Value, x)
		}
	}
	for _, x := range braces.FindAllString(text, -1) {
		if !slices.Contains(need, x) {
			p.bad(key.Line, "%s: %s knows no %.40s", lang, key.Value, x)
		}
	}
}

// used lists the placeholders of a text, each once.
func used(text string) []string {
	out := placeholder.FindAllString(text, -1)
	slices.Sort(out)
	return slices.Compact(out)
}

// Keys lists the keys that each language has.
func (t *Texts) Keys() []string { return slices.Sorted(maps.Keys(t.by[English])) }

// Languages lists the languages there are.
func (t *Texts) Languages() []string { return slices.Sorted(maps.Keys(t.by)) }

// Has reports whether there is such a language.
func (t *Texts) Has(lang string) bool { return t.by[lang] != nil }

// Say writes the text of a key. Values of args are put in as they are, on one line; a
// language or key that is not there is said in English.
func (t *Texts) Say(lang, key string, args map[string]string) string {
	text, ok := t.by[lang][key]
	if !ok {
		text = t.by[English][key]
	}
	return placeholder.ReplaceAllStringFunc(text, func(x string) string {
		return strings.Join(strings.Fields(args[x[1:len(x)-1]]), " ")
	})
}

// Means reports whether somebody said one of the words of a key, in their language or in
// English.
func (t *Texts) Means(lang, key, said string) bool {
	for _, l := range []string{lang, English} {
		for w := range strings.SplitSeq(t.by[l][key], ",") {
			if strings.EqualFold(strings.TrimSpace(w), said) {
				return true
			}
		}
	}
	return false
}
