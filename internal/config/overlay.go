package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

const envPrefix = "DRAWBRIDGE_"

// maxSecret bounds a password or passphrase, maxKey an exported key.
const (
	maxSecret = 64 << 10
	maxKey    = 1 << 20
)

// envName turns a key path into the tail of its variable's name.
func envName(path string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z' || r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, strings.ReplaceAll(path, "]", ""))
}

// secretFile notes the path that stands for a secret; it is read once the
// environment had its say.
func (d *decoder) secretFile(key string, n *yaml.Node, at string) {
	n, ok := d.enter(n, at, 0)
	if !ok {
		return
	}
	s, ok := d.scalar(n, at, false)
	if !ok {
		return
	}
	path, err := d.path(s)
	if err != nil {
		d.fail(at, err.fix, "%s", err.what)
		return
	}
	d.files[key] = path
}

// overlay puts flags and environment over the file, reads the secrets' files,
// and refuses variables that name nothing.
func (d *decoder) overlay(c *Config) {
	d.overlayBlock(reflect.ValueOf(c).Elem(), "")
	d.unusedEnv(c)
	for _, path := range sortedKeys(d.opt.Flags) {
		if !d.used[path] {
			d.failAt(Pos{File: flagName(path)}, path, "", "no such value to override")
		}
	}
}

func (d *decoder) overlayBlock(v reflect.Value, path string) {
	for _, f := range fieldsOf(v.Type()) {
		fv, at := v.Field(f.index), join(path, f.key)
		switch {
		case fv.Type() == secretType:
			d.overlaySecret(fv, f.tag, at)
		case fv.Kind() == reflect.Pointer && !fv.IsNil():
			d.overlayBlock(fv.Elem(), at)
		case fv.Kind() == reflect.Struct && fv.Type() != floorType:
			d.overlayBlock(fv, at)
		case fv.Kind() == reflect.Slice && fv.Type().Elem().Kind() == reflect.Struct:
			for i := range fv.Len() {
				item := fmt.Sprintf("%s[%d]", at, i)
				if f.tag.has("named") {
					item = join(at, fv.Index(i).FieldByName("Name").String())
				}
				d.overlayBlock(fv.Index(i), item)
			}
		case f.tag.has("env"):
			d.overlayPlain(fv, f.tag, at)
		}
		if f.tag.has("required") && fv.IsZero() && !d.broken[at] && !d.broken[at+"_file"] {
			d.fail(at, "add "+sample(f), "is missing")
		}
	}
}

// sample shows how a required value is written.
func sample(f field) string {
	switch {
	case f.tag.has("secret"):
		return f.key + "_file: FILE"
	case f.tag.has("addr"):
		return f.key + ": HOST:PORT"
	case f.tag.has("jid"):
		return f.key + ": USER@DOMAIN"
	case f.tag.has("room"):
		return f.key + ": ROOM@SERVICE"
	case f.tag.has("channel"):
		return f.key + `: "#NAME"`
	}
	return f.key + ": " + strings.ToUpper(f.key)
}

// fromEnv returns the value of a variable, or of the file that its _FILE names.
func (d *decoder) fromEnv(path string, secret bool, limit int) (value, file string, ok bool) {
	name := envPrefix + envName(path)
	value, direct := d.env[name]
	file, viaFile := d.env[name+"_FILE"]
	d.used[name], d.used[name+"_FILE"] = true, true
	switch {
	case direct && viaFile:
		d.failAt(Pos{File: name}, path, "unset one of them", "%s_FILE is set too", name)
		return "", "", false
	case direct:
		d.pos[path] = Pos{File: name}
		if value == "" {
			d.fail(path, "unset it, or give it a value", "is empty")
			return "", "", false
		}
		return value, "", true
	case !viaFile:
		return "", "", false
	}
	d.pos[path] = Pos{File: name + "_FILE"}
	p, err := d.path(file)
	if err != nil {
		d.fail(path, err.fix, "%s", err.what)
		return "", "", false
	}
	text, ok := d.readSecret(p, path, secret, limit)
	return text, p, ok
}

// overlaySecret settles one secret: environment before file, NAME or NAME_file.
func (d *decoder) overlaySecret(v reflect.Value, t tag, path string) {
	limit := maxSecret
	if t.has("key") {
		limit = maxKey
	}
	file, viaFile := d.files[path]
	if viaFile && slices.Contains(d.inline, path) {
		d.fail(path, "keep one of them", "stands beside %s_file, in line %d", lastKey(path), d.at(path+"_file").Line)
		return
	}
	if s, f, ok := d.fromEnv(path, true, limit); ok {
		v.Set(reflect.ValueOf(Secret{File: f, value: s}))
	} else if viaFile && !d.broken[path] {
		d.pos[path] = d.at(path + "_file")
		if s, ok := d.readSecret(file, path+"_file", true, limit); ok {
			v.Set(reflect.ValueOf(Secret{File: file, value: s}))
		}
	}
	s := v.Interface().(Secret)
	if !s.Set() || t.has("key") {
		return
	}
	if !utf8.ValidString(s.value) || strings.ContainsAny(s.value, "\x00\r\n") {
		d.fail(path, "keep one line of text in it", "is more than one line, or no text")
	}
}

// overlayPlain settles a value that may come from a flag or the environment.
func (d *decoder) overlayPlain(v reflect.Value, t tag, path string) {
	text, ok := d.opt.Flags[path]
	if ok {
		d.used[path] = true
		d.pos[path] = Pos{File: flagName(path)}
		d.used[envPrefix+envName(path)] = true
	} else if text, _, ok = d.fromEnv(path, false, maxSecret); !ok {
		return
	}
	if v.Kind() != reflect.Slice {
		d.set(v, t, text, path)
		return
	}
	v.SetLen(0)
	for i, part := range strings.Split(text, ",") {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.pos[at] = d.pos[path]
		e := reflect.New(v.Type().Elem()).Elem()
		d.set(e, t, strings.TrimSpace(part), at)
		v.Set(reflect.Append(v, e))
	}
}

func flagName(path string) string {
	return "--" + strings.NewReplacer(".", "-", "_", "-").Replace(path)
}

// open reports whether others may touch a file that holds a secret. systemd's
// credentials show a group bit that is an access list for this service alone.
func (d *decoder) open(path string, mode os.FileMode) bool {
	if dir := d.env["CREDENTIALS_DIRECTORY"]; dir != "" && filepath.Dir(path) == filepath.Clean(dir) {
		return mode.Perm()&0o007 != 0
	}
	return mode.Perm()&0o077 != 0
}

// readSecret reads a file for the value at key. A secret's file is refused if
// others can read it.
func (d *decoder) readSecret(path, key string, secret bool, limit int) (string, bool) {
	data, mode, err := readFile(path, limit)
	if err != nil {
		fix := ""
		if errors.Is(err, fs.ErrNotExist) {
			fix = "write the secret into it: (umask 077; cat > " + clip(path) + ")"
		}
		d.fail(key, fix, "%s", fileProblem(err).what)
		return "", false
	}
	if secret && d.open(path, mode) {
		d.fail(key, "chmod 600 "+clip(path), "%s is open to others (mode %04o)", clip(path), mode.Perm())
		return "", false
	}
	text := string(data)
	if limit != maxKey {
		text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	}
	if text == "" {
		d.fail(key, "", "%s is empty", clip(path))
		return "", false
	}
	return text, true
}

func readFile(path string, limit int) ([]byte, os.FileMode, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, &os.PathError{Op: "open", Path: path, Err: errNotFile}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err == nil && len(data) > limit {
		err = &os.PathError{Op: "read", Path: path, Err: fmt.Errorf("is larger than %d KiB", limit>>10)}
	}
	return data, info.Mode(), err
}

// keepsSecrets refuses a config with a secret in it that others can read.
func (d *decoder) keepsSecrets(mode os.FileMode) {
	if len(d.inline) > 0 && mode.Perm()&0o077 != 0 {
		d.failAt(d.at(d.inline[0]), d.inline[0], fmt.Sprintf("chmod 600 %s, or use %s_file", clip(d.file), lastKey(d.inline[0])),
			"is a secret in a file open to others (mode %04o)", mode.Perm())
	}
}

// unusedEnv tells of variables that begin like ours and name nothing: a
// misspelt one would otherwise be the silent loss of a password.
func (d *decoder) unusedEnv(c *Config) {
	var blocks, known []string
	for _, f := range fieldsOf(reflect.TypeOf(*c)) {
		blocks = append(blocks, envPrefix+envName(f.key)+"_")
	}
	for name := range d.used {
		if strings.HasPrefix(name, envPrefix) {
			known = append(known, name)
		}
	}
	slices.Sort(known)
	for _, name := range sortedKeys(d.env) {
		if d.used[name] || !slices.ContainsFunc(blocks, func(b string) bool { return strings.HasPrefix(name, b) }) {
			continue
		}
		fix := "unset it; secrets, servers, listen addresses and log can be given this way"
		if near, ok := nearest(name, known); ok {
			fix = "did you mean " + near + "?"
		}
		d.failAt(Pos{File: clip(name)}, "", fix, "this variable names no value of %s", clip(d.file))
	}
}

func lastKey(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
