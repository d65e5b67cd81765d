// LogFields — the fields of LogPlan.swift in the sealed plan.

extension LogPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&level, of: Level.allCases.count)
    coder.code(&file)
    coder.code(&maxFileSize)
    coder.code(&maxFiles)
    coder.code(&syslog, blank: SyslogPlan()) { $0.code(with: &$1) }
  }
}

extension AccessLogPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&enabled)
    coder.code(&file)
    coder.code(&syslog, blank: SyslogPlan()) { $0.code(with: &$1) }
    coder.code(&format)
    coder.code(&bufferSize)
    coder.code(&flushInterval)
    coder.code(&samplePercent)
    coder.code(&alwaysFromStatus)
    coder.code(&alwaysAfter)
  }
}

extension RouteLogPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&enabled)
    coder.code(&samplePercent)
  }
}

extension SyslogPlan {
  mutating func code<Coder: PlanCoder>(with coder: inout Coder) {
    coder.code(&server)
    coder.code(&facility, of: 24)
    coder.code(&tag)
  }
}
