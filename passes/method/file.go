package method

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// fileName is what a method that is read from a file may be called: it goes into names of files and inputs.
var fileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// Parse reads a record from YAML, or from JSON, which is YAML. The fields are those of the JSON form, and the short names
// of Set. With "base: METHOD" the fields that are not given are those of that method of the table, under the file's preset.
// Fields that there are not, given twice, or with bad values, are errors that tell the line.
func Parse(data []byte) (Record, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if err == io.EOF {
			return Record{}, fmt.Errorf("the file is empty: want fields of a method record")
		}
		return Record{}, fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := dec.Decode(new(yaml.Node)); err != io.EOF {
		return Record{}, fmt.Errorf("a second document: want one method record")
	}
	f := file{lines: map[string]int{}}
	if err := f.collect("", doc.Content[0], 0); err != nil {
		return Record{}, err
	}
	r, err := f.start()
	if err != nil {
		return r, err
	}
	for _, s := range f.settings {
		if err := Set(&r, s.field, s.value); err != nil {
			return r, f.located(err)
		}
	}
	if !fileName.MatchString(r.Name) {
		return r, f.located(&SettingError{"name", r.Name, "letters, digits and . _ -"})
	}
	return r, f.located(Validate(r))
}

// file is a record as it stands in a file.
type file struct {
	settings []setting
	lines    map[string]int // by field
}

type setting struct{ field, value string }

// collect lists the settings below a node.
func (f *file) collect(field string, n *yaml.Node, depth int) error {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch {
	case n.Kind == yaml.ScalarNode && field != "" && n.Tag != "!!null":
		f.settings = append(f.settings, setting{field, n.Value})
		return nil
	case n.Kind != yaml.MappingNode || depth > 4:
		if field == "" {
			return fmt.Errorf("line %d: want fields of a method record, NAME: VALUE", n.Line)
		}
		return fmt.Errorf("line %d: %s: want a value or a group of fields", n.Line, field)
	}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		path := key.Value
		if field != "" {
			path = field + "." + path
		}
		if at, twice := f.lines[path]; twice {
			return fmt.Errorf("line %d: %s is given already, on line %d", key.Line, path, at)
		}
		f.lines[path] = key.Line
		if err := f.collect(path, value, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// start is the record that the settings change: the base under the file's preset, or an empty one. The settings that it
// is made by are taken out.
func (f *file) start() (Record, error) {
	r := Record{Preset: "paper"}
	preset := ""
	var rest []setting
	for _, s := range f.settings {
		switch s.field {
		case "base":
			base, ok := Lookup(s.value)
			if !ok {
				return r, f.located(&SettingError{"base", s.value, "one of " + strings.Join(Names(), ", ")})
			}
			r = base
		case "preset":
			preset = s.value
		default:
			rest = append(rest, s)
		}
	}
	f.settings = rest
	if f.lines["base"] == 0 {
		if preset != "" {
			r.Preset = preset
		}
		return r, nil
	}
	r, err := WithPreset(r, preset)
	return r, f.located(err)
}

// located puts the line of the field before each error about one.
func (f *file) located(err error) error {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		var errs []error
		for _, e := range all.Unwrap() {
			errs = append(errs, f.located(e))
		}
		return errors.Join(errs...)
	}
	var bad *SettingError
	if !errors.As(err, &bad) {
		return err
	}
	for _, field := range []string{bad.Field, shortNames[bad.Field], "every"} {
		if line := f.lines[field]; line > 0 && (field != "every" || strings.HasSuffix(bad.Field, ".every")) {
			return fmt.Errorf("line %d: %w", line, err)
		}
	}
	return err
}

// YAML is the record in the form that Parse reads, fields of zero value left out.
func (r Record) YAML() string {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(r.Encode()), &doc); err != nil {
		panic("BUG: " + err.Error())
	}
	blocks(&doc)
	var sb strings.Builder
	enc := yaml.NewEncoder(&sb)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(&doc), enc.Close()); err != nil {
		panic("BUG: " + err.Error())
	}
	return sb.String()
}

// blocks turns JSON's style into one field a line, with quotes only where they are needed.
func blocks(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		blocks(c)
	}
}
