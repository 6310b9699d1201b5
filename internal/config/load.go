package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxFile bounds the config file, and maxVisits the values in it with every
// alias written out: a few kilobytes of nested aliases could otherwise stand for
// more than fits in memory.
const (
	maxFile   = 1 << 20
	maxVisits = 100_000
	maxDepth  = 32
	maxErrors = 100 // more are counted only
)

// Options are what Load takes besides the file. The zero value reads no
// environment.
type Options struct {
	// Environ is the environment, as os.Environ returns it.
	Environ []string
	// Flags override single values by key path, as "log.level"; Pos then names
	// the flag.
	Flags map[string]string
	// CheckTemplate tells what is wrong with a show.irc or show.xmpp template;
	// nil: only {text} is looked for.
	CheckTemplate func(template string) error
}

// Load reads, checks and completes the file. The error is an Errors with
// everything that is wrong, in the order of the file. Nothing but the file, the
// files it names and opt is read; nothing is written.
func Load(path string, opt Options) (*Config, error) {
	data, mode, err := readConfig(path)
	if err != nil {
		return nil, Errors{{Pos: Pos{File: path}, What: err.Error(), Fix: readFix(err)}}
	}
	return parse(path, data, mode, opt)
}

// parse is Load without reading the file itself.
func parse(path string, data []byte, mode os.FileMode, opt Options) (*Config, error) {
	root, bad := parseYAML(path, data)
	if bad != nil {
		return nil, Errors{*bad}
	}
	d := newDecoder(path, opt)
	c := &Config{File: path, pos: d.pos}
	d.document(c, root)
	d.overlay(c)
	d.keepsSecrets(mode)
	d.complete(c)
	if len(d.errs) < maxErrors {
		d.check(c)
	}
	d.sort()
	if len(d.errs) > 0 {
		return nil, Errors(d.errs)
	}
	c.Warnings = d.warnings
	return c, nil
}

var errNotFile = errors.New("is not a file")

func readConfig(path string) ([]byte, os.FileMode, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, errors.Unwrap(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Unwrap(err)
	}
	if !info.Mode().IsRegular() {
		return nil, 0, errNotFile
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, 0, errors.Unwrap(err)
	}
	if len(data) > maxFile {
		return nil, 0, fmt.Errorf("is larger than 1 MiB")
	}
	return data, info.Mode(), nil
}

func readFix(err error) string {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "drawbridge init writes one, --config names another"
	case errors.Is(err, os.ErrPermission):
		return "make it readable for the user that runs drawbridge, and for nobody else"
	}
	return ""
}

// hashValue is the newcomer's `channel: #dev`: for YAML a comment begins there.
var (
	hashValue = regexp.MustCompile(`(?m)^[^#"'\n]*?\b(channel|room|password|key|passphrase): +#[^ \n]`)
	yamlLine  = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?(.*)$`)
)

// parseYAML returns the one document of data, or the one error that YAML gives.
func parseYAML(path string, data []byte) (*yaml.Node, *Error) {
	fail := func(line int, what, fix string) (*yaml.Node, *Error) {
		return nil, &Error{Pos: Pos{File: path, Line: line}, What: what, Fix: fix}
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return fail(0, "is empty", "drawbridge init writes one to start from")
	} else if err != nil {
		return fail(yamlProblem(data, err))
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		return fail(second.Line, "has more than one YAML document", "remove the line ---, and what follows")
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return fail(root.Line, "must be a mapping of networks, accounts, people, bridges …, but is "+kindOf(root), "see config.example.yaml")
	}
	return root, nil
}

// yamlProblem says in which line what is wrong, and the likely way out. What
// yaml.v3 cites of the text may be a password, and is left out.
func yamlProblem(data []byte, err error) (line int, what, fix string) {
	lineOf := func(offset int) int { return 1 + bytes.Count(data[:offset], []byte("\n")) }
	m := yamlLine.FindStringSubmatch(err.Error())
	line, _ = strconv.Atoi(m[1])
	what = "is not YAML: " + m[2]
	hash := hashValue.FindIndex(data)
	switch _, anchor, unknown := strings.Cut(m[2], "unknown anchor '"); {
	case unknown:
		anchor, _, _ = strings.Cut(anchor, "'")
		return lineOf(max(0, bytes.Index(data, []byte("*"+anchor)))), "is not YAML: a value begins with *", "put quotes around it"
	case hash != nil:
		return lineOf(hash[0]), what, `put quotes around a value with #, as in channel: "#dev": # begins a comment`
	case bytes.Contains(data, []byte("\n\t")):
		fix = "indent with spaces: YAML knows no tabs there"
	case strings.Contains(what, "mapping values are not allowed"):
		fix = `put quotes around a value with ": " in it, and begin keys of one block in one column`
	case strings.Contains(what, "cannot start any token"):
		fix = "put quotes around a value that begins with a sign"
	}
	return line, what, fix
}

// decoder collects what one Load finds.
type decoder struct {
	file     string
	dir      string // relative paths are below it
	opt      Options
	env      map[string]string
	errs     []Error
	warnings []Error
	pos      map[string]Pos
	visits   int
	files    map[string]string // secret's key path → the path in its NAME_file
	inline   []string          // key paths of secrets that stand in the file itself
	used     map[string]bool   // environment variables and flags that were read
	broken   map[string]bool   // key paths whose value was already called wrong
	tainted  map[string]bool   // those, and all above them
}

func newDecoder(file string, opt Options) *decoder {
	d := &decoder{
		file: file, dir: filepath.Dir(file), opt: opt,
		env: map[string]string{}, pos: map[string]Pos{}, files: map[string]string{},
		used: map[string]bool{}, broken: map[string]bool{}, tainted: map[string]bool{},
	}
	for _, kv := range opt.Environ {
		if name, value, ok := strings.Cut(kv, "="); ok {
			d.env[name] = value
		}
	}
	return d
}

// at returns the place of a key path, or of the nearest value above it.
func (d *decoder) at(key string) Pos {
	return (&Config{File: d.file, pos: d.pos}).Pos(key)
}

func (d *decoder) fail(key, fix, format string, args ...any) {
	d.mark(key)
	d.errs = append(d.errs, Error{Pos: d.at(key), Key: key, What: fmt.Sprintf(format, args...), Fix: fix})
}

func (d *decoder) failAt(p Pos, key, fix, format string, args ...any) {
	d.mark(key)
	d.errs = append(d.errs, Error{Pos: p, Key: key, What: fmt.Sprintf(format, args...), Fix: fix})
}

// mark notes that the value of a key was called wrong.
func (d *decoder) mark(key string) {
	d.broken[key], d.tainted[key] = true, true
	for i := len(key) - 1; i > 0; i-- {
		if key[i] == '.' || key[i] == '[' {
			d.tainted[key[:i]] = true
		}
	}
}

// anyBroken reports whether a value at or below path was already called wrong.
func (d *decoder) anyBroken(path string) bool { return d.tainted[path] }

func (d *decoder) warn(key, fix, format string, args ...any) {
	d.warnings = append(d.warnings, Error{Pos: d.at(key), Key: key, What: fmt.Sprintf(format, args...), Fix: fix})
}

// sort puts errors and warnings in the order of the file; what is wrong with the
// environment or the flags follows.
func (d *decoder) sort() {
	order := func(a, b Error) int {
		if (a.Pos.File == d.file) != (b.Pos.File == d.file) {
			if a.Pos.File == d.file {
				return -1
			}
			return 1
		}
		return a.Pos.Line - b.Pos.Line
	}
	slices.SortStableFunc(d.errs, order)
	if more := len(d.errs) - maxErrors; more > 0 {
		d.errs = append(d.errs[:maxErrors:maxErrors], Error{Pos: Pos{File: d.file}, What: fmt.Sprintf("%d more errors like these", more)})
	}
	slices.SortStableFunc(d.warnings, order)
}
