package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"gopkg.in/yaml.v3"

	"drawbridge/bridge"
	"drawbridge/internal/config"
)

// defaultConfigs are looked for in this order when --config is not given.
var defaultConfigs = []string{"drawbridge.yaml", "/etc/drawbridge/drawbridge.yaml"}

// configPath is the file that --config names, or the first default that exists.
func (g *globals) configPath() (string, error) {
	if g.config != "" {
		return g.config, nil
	}
	for _, p := range defaultConfigs {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	return "", misused(fmt.Errorf("no configuration: neither ./%s nor %s exists", defaultConfigs[0], defaultConfigs[1]),
		"drawbridge init, or --config FILE")
}

// loadOptions are what the configuration may take from outside the file.
func loadOptions() config.Options {
	return config.Options{Environ: os.Environ(), CheckTemplate: bridge.CheckTemplate}
}

// load reads the configuration, or says all that is wrong with it on stderr.
func (g *globals) load() (*config.Config, error) {
	path, err := g.configPath()
	if err != nil {
		return nil, err
	}
	c, err := config.Load(path, loadOptions())
	if err != nil {
		printErrors(g.err, err)
		return nil, misused(fmt.Errorf("%s is not usable", path), "")
	}
	for _, w := range c.Warnings {
		sayln(g.err, w.Error())
	}
	return c, nil
}

// printErrors writes one line for each mistake.
func printErrors(w io.Writer, err error) {
	var list config.Errors
	if !errors.As(err, &list) {
		sayln(w, err)
		return
	}
	for _, e := range list {
		sayln(w, e.Error())
	}
}

// sockets are the places where the running bot may listen: the one that the
// configuration names, else the defaults of every way to start it. The rest of
// the file may be as wrong as it likes.
func (g *globals) sockets() ([]string, error) {
	if p := os.Getenv("DRAWBRIDGE_ADMIN_SOCKET"); p != "" {
		return []string{p}, nil
	}
	path, err := g.configPath()
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, misused(err, "")
	}
	var c struct {
		Admin struct {
			Socket string `yaml:"socket"`
		} `yaml:"admin"`
	}
	if err := yaml.Unmarshal(data, &c); err == nil && c.Admin.Socket != "" {
		if !filepath.IsAbs(c.Admin.Socket) {
			c.Admin.Socket = filepath.Join(filepath.Dir(path), c.Admin.Socket)
		}
		return []string{c.Admin.Socket}, nil
	}
	var out []string
	for _, dir := range []string{os.Getenv("RUNTIME_DIRECTORY"), os.Getenv("XDG_RUNTIME_DIR")} {
		if dir != "" {
			out = append(out, filepath.Join(dir, "admin.sock"), filepath.Join(dir, "drawbridge", "admin.sock"))
		}
	}
	return append(out, "/run/drawbridge/admin.sock"), nil
}
