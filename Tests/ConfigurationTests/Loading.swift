// Loading — shorthands for the tests: a text to a configuration or to the lines of its errors.

import Configuration

let stillMachine = Surroundings(
  resolve: { name in
    switch name {
    case "two.test": .addresses(["192.0.2.1", "2001:db8::1"])
    case "localhost": .addresses(["127.0.0.1", "::1"])
    case "gone.test": .failed("Name or service not known")
    default: .addresses(["192.0.2.9"])
    }
  },
  accountComplaint: { user, _ in user == "nobody-here" ? "user \"nobody-here\" does not exist" : nil },
  absolute: { $0.hasPrefix("/") ? $0 : "/srv/\($0)" }, processors: { 6 })

func load(
  _ text: String?, environment: [String: String] = [:], overrides: Overrides = Overrides(), machine: Surroundings = stillMachine
) -> Result<Loaded, ConfigurationErrors> {
  var source = ConfigurationSource(environment: environment, overrides: overrides)
  source.surroundings = machine
  return source.load(text: text.map { Array($0.utf8) }, file: text == nil ? nil : "t")
}

/// The error lines; empty when the text is right.
func errors(_ text: String?, environment: [String: String] = [:], overrides: Overrides = Overrides()) -> [String] {
  switch load(text, environment: environment, overrides: overrides) {
  case .success: []
  case .failure(let errors): errors.errors.map(\.description)
  }
}

func loaded(_ text: String?, environment: [String: String] = [:], overrides: Overrides = Overrides()) throws -> Loaded {
  try load(text, environment: environment, overrides: overrides).get()
}
