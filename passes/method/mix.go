package method

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
)

// Mix is what a step graph is compiled by: a record for the whole model, and records for some of its layers.
type Mix struct {
	Default   Record
	Overrides []Override // of those that match a layer or parameter, the last one counts
}

// Override gives the layers and parameters that match a pattern a record of their own.
type Override struct {
	// Pattern is a glob of the names of layers and parameters, in which * also stands for /, or kind:KIND for the layers
	// of a kind; kind:norm are all normalisations, kind:parameter the parameters outside layers.
	Pattern string `json:"pattern"`
	Record  Record `json:"method"`
}

// KindPrefix starts the patterns that go by the kind of a layer.
const KindPrefix = "kind:"

// OverridesKey is the metadata entry of step graphs that holds Overrides; the default is in "asdl.method".
const OverridesKey = "asdl.overrides"

// Matches reports whether the override is for the layer or parameter of that name and kind.
func (o Override) Matches(name, kind string) bool {
	if want, ok := strings.CutPrefix(o.Pattern, KindPrefix); ok {
		return kind == want || want == "norm" && strings.HasSuffix(kind, "norm")
	}
	return matches(o.Pattern, name)
}

// matches is path.Match with / as a letter like any other. A pattern that is malformed matches nothing.
func matches(glob, name string) bool {
	ok, err := path.Match(strings.ReplaceAll(glob, "/", "\x01"), strings.ReplaceAll(name, "/", "\x01"))
	return ok && err == nil
}

// Records lists the distinct records; the default is the first. Overrides with equal records share one.
func (m Mix) Records() []Record {
	records := []Record{m.Default}
	for _, o := range m.Overrides {
		if indexOf(records, o.Record) < 0 {
			records = append(records, o.Record)
		}
	}
	return records
}

func indexOf(records []Record, r Record) int {
	for i, other := range records {
		if other.Encode() == r.Encode() {
			return i
		}
	}
	return -1
}

// Index is the place in Records of what an override gives.
func (m Mix) Index(o Override) int { return indexOf(m.Records(), o.Record) }

// Label tells the record of that index from the others in the names of inputs and clocks: "" for the default, else the
// method's name, with a number where several records have it.
func (m Mix) Label(index int) string {
	if index == 0 {
		return ""
	}
	records, same := m.Records(), 0
	for _, r := range records[1:index] {
		if r.Name == records[index].Name {
			same++
		}
	}
	if same > 0 {
		return fmt.Sprintf("%s.%d", records[index].Name, same+1)
	}
	return records[index].Name
}

// Validate checks all records and patterns.
func (m Mix) Validate() error {
	errs := []error{Validate(m.Default)}
	for _, o := range m.Overrides {
		if _, err := path.Match(o.Pattern, ""); err != nil || o.Pattern == "" || o.Pattern == KindPrefix {
			errs = append(errs, &SettingError{"layer", o.Pattern, "a glob of layer names, or kind:KIND"})
		}
		if err := Validate(o.Record); err != nil {
			errs = append(errs, fmt.Errorf("layer %s: %w", o.Pattern, err))
		}
	}
	return errors.Join(errs...)
}

// Write puts the records into the metadata of a model.
func (m Mix) Write(metadata map[string]string) {
	metadata["asdl.method"] = m.Default.Encode()
	delete(metadata, OverridesKey)
	if len(m.Overrides) > 0 {
		data, err := json.Marshal(m.Overrides)
		if err != nil {
			panic("BUG: " + err.Error())
		}
		metadata[OverridesKey] = string(data)
	}
}

// ReadMix is the inverse of Write; unknown fields are an error.
func ReadMix(metadata map[string]string) (Mix, error) {
	var m Mix
	var err error
	if m.Default, err = Decode(metadata["asdl.method"]); err != nil {
		return m, err
	}
	text, ok := metadata[OverridesKey]
	if !ok {
		return m, nil
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m.Overrides); err != nil {
		return m, fmt.Errorf("method records of layers: %w", err)
	}
	return m, m.Validate()
}
