package method

import (
	"reflect"
	"sort"
	"strings"
)

// expand turns a struct with JSON tags into a map that holds zero fields too.
func expand(v any) map[string]any {
	out := map[string]any{}
	rv := reflect.ValueOf(v)
	for i := 0; i < rv.NumField(); i++ {
		name, _, _ := strings.Cut(rv.Type().Field(i).Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		f := rv.Field(i)
		if f.Kind() == reflect.Struct {
			out[name] = expand(f.Interface())
		} else {
			out[name] = f.Interface()
		}
	}
	return out
}

// Fields lists the paths that Set accepts.
func Fields() []string {
	var paths []string
	var walk func(prefix string, m map[string]any)
	walk = func(prefix string, m map[string]any) {
		for k, v := range m {
			if sub, ok := v.(map[string]any); ok {
				walk(prefix+k+".", sub)
			} else {
				paths = append(paths, prefix+k)
			}
		}
	}
	walk("", expand(Record{}))
	sort.Strings(paths)
	return paths
}
