// SupervisorDeadlines — what the supervisor does because time has passed, and the end: stop, and stop at once.

extension Supervisor {
  /// Does what is due at `now`.
  public mutating func tick(now: Int64) -> [MasterAction] {
    var actions: [MasterAction] = []
    for index in generations.indices {
      for slot in generations[index].slots.indices {
        let state = generations[index].slots[slot]
        if let time = state.killAt, time <= now, let worker = state.worker {
          generations[index].slots[slot].killAt = nil
          actions.append(.kill(worker))
        }
        if let time = state.respawnAt, time <= now { actions.append(spawn(index, slot, now)) }
        if state.phase == .starting, state.startDeadline <= now { actions += late(index, slot, now) }
      }
    }
    return actions + settle(now) + sweep()
  }

  mutating func late(_ index: Int, _ slot: Int, _ now: Int64) -> [MasterAction] {
    let words = "not ready within \(generations[index].terms.startTimeout) ms"
    switch generations[index].phase {
    case .starting: return abandon(index, "worker \(slot): \(words)", now)
    case .serving:
      guard let worker = generations[index].slots[slot].worker else { return [] }
      generations[index].slots[slot].phase = .leaving
      generations[index].slots[slot].lastWords = words
      return [.kill(worker)]
    case .opening, .draining, .abandoned: return []
    }
  }

  // MARK: The end

  /// Drains everything within `milliseconds`, all generations by the same deadline.
  public mutating func stop(milliseconds: Int, now: Int64) -> [MasterAction] {
    guard !isStopping else { return [] }
    isStopping = true
    // It does serve; for the others there is nothing left to wait for.
    var actions = handover.map { [MasterAction.settled(generation: $0.generation)] } ?? []
    handover = nil
    for index in generations.indices {
      switch generations[index].phase {
      case .starting, .opening: actions += abandon(index, "the gateway is stopping", now)
      case .serving: actions += drain(index, milliseconds: Int64(max(0, milliseconds)), now)
      case .draining where generations[index].drainDeadline > now + Int64(milliseconds):
        actions += drain(index, milliseconds: Int64(max(0, milliseconds)), now)
      case .draining, .abandoned: break
      }
    }
    return actions + sweep()
  }

  /// Ends everything at once.
  public mutating func stopNow(now: Int64) -> [MasterAction] {
    var actions = stop(milliseconds: 0, now: now).filter { if case .drain = $0 { false } else { true } }
    for index in generations.indices {
      for slot in generations[index].slots.indices where generations[index].slots[slot].phase != .starting {
        guard let worker = generations[index].slots[slot].worker else { continue }
        setKill(index, slot, now + Self.stopNowGrace)
        actions.append(.stopNow(worker))
      }
    }
    return actions
  }
}
