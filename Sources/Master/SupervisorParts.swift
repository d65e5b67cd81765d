// SupervisorParts — the steps that the supervisor's decisions have in common: spawning, covering sockets, draining, forgetting.

extension Supervisor {
  func place(of worker: WorkerID) -> (Int, Int)? {
    for index in generations.indices {
      if let slot = generations[index].slots.firstIndex(where: { $0.worker == worker }) { return (index, slot) }
    }
    return nil
  }

  var drainingUnhurried: Int { generations.count { $0.phase == .draining && !$0.isHurried } }

  mutating func spawn(_ index: Int, _ slot: Int, _ now: Int64) -> MasterAction {
    let worker = WorkerID(number: nextWorker)
    nextWorker += 1
    generations[index].slots[slot].worker = worker
    generations[index].slots[slot].phase = .starting
    generations[index].slots[slot].startDeadline = now + Int64(generations[index].terms.startTimeout)
    generations[index].slots[slot].respawnAt = nil
    return .spawn(worker, generation: generations[index].number, slot: slot, restarts: generations[index].slots[slot].restarts)
  }

  mutating func setKill(_ index: Int, _ slot: Int, _ time: Int64) {
    generations[index].slots[slot].killAt = min(generations[index].slots[slot].killAt ?? .max, time)
  }

  mutating func uncover(_ index: Int, _ slot: Int) {
    for position in generations[index].covers.indices where generations[index].covers[position] == slot {
      generations[index].covers[position] = nil
    }
  }

  /// Sees to it that each socket slot is served: by its own worker if that is ready, else by the next one that is.
  mutating func cover(_ index: Int) -> [MasterAction] {
    let workers = generations[index].terms.workers
    var adopted: [Int: [Int]] = [:]
    var released: [Int: [Int]] = [:]
    for position in generations[index].covers.indices {
      let candidates = (0..<workers).map { (position + $0) % workers }
      guard let wanted = candidates.first(where: { generations[index].slots[$0].phase == .ready }) else { continue }
      let current = generations[index].covers[position]
      if current == wanted { continue }
      generations[index].covers[position] = wanted
      adopted[wanted, default: []].append(position)
      if let current { released[current, default: []].append(position) }
    }
    // Adopt before release: for a moment two may accept on a socket, but never nobody.
    var actions: [MasterAction] = []
    for slot in 0..<workers {
      if let positions = adopted[slot], let worker = generations[index].slots[slot].worker { actions.append(.adopt(worker, positions)) }
    }
    for slot in 0..<workers {
      if let positions = released[slot], let worker = generations[index].slots[slot].worker { actions.append(.release(worker, positions)) }
    }
    return actions
  }

  mutating func drain(_ index: Int, milliseconds: Int64, _ now: Int64) -> [MasterAction] {
    generations[index].phase = .draining
    generations[index].drainDeadline = now + milliseconds
    return order(index, milliseconds: milliseconds, hurry: false, now)
  }

  mutating func hurry(_ index: Int, _ now: Int64) -> [MasterAction] {
    generations[index].isHurried = true
    let remaining = max(0, min(Self.hurryTime, generations[index].drainDeadline - now))
    generations[index].drainDeadline = now + remaining
    return order(index, milliseconds: remaining, hurry: true, now)
  }

  mutating func order(_ index: Int, milliseconds: Int64, hurry: Bool, _ now: Int64) -> [MasterAction] {
    var actions: [MasterAction] = []
    for slot in generations[index].slots.indices {
      generations[index].slots[slot].respawnAt = nil
      guard let worker = generations[index].slots[slot].worker else { continue }
      if generations[index].slots[slot].phase == .starting {
        // It has accepted nothing yet.
        actions.append(.kill(worker))
      } else {
        setKill(index, slot, now + milliseconds + Self.grace)
        actions.append(.drain(worker, milliseconds: Int(milliseconds), hurry: hurry))
      }
      generations[index].slots[slot].phase = .leaving
    }
    return actions
  }

  mutating func abandon(_ index: Int, _ reason: String, _ now: Int64) -> [MasterAction] {
    generations[index].phase = .abandoned
    var actions = [MasterAction.abandoned(generation: generations[index].number, reason: reason)]
    for slot in generations[index].slots.indices {
      guard let worker = generations[index].slots[slot].worker else { continue }
      generations[index].slots[slot].phase = .leaving
      actions.append(.kill(worker))
    }
    return actions
  }

  /// Ends the change of generations when nobody old accepts any more, or has not said so in time.
  mutating func settle(_ now: Int64) -> [MasterAction] {
    guard let (generation, deadline) = handover else { return [] }
    let isLate = deadline <= now
    guard isLate || !generations.contains(where: { $0.phase == .draining && $0.isAccepting }) else { return [] }
    handover = nil
    if isLate {
      // Who does not answer now is not waited for again.
      for index in generations.indices where generations[index].phase == .draining {
        for slot in generations[index].slots.indices { generations[index].slots[slot].isAccepting = false }
      }
    }
    return [.settled(generation: generation)]
  }

  /// Forgets generations without processes.
  mutating func sweep() -> [MasterAction] {
    var actions: [MasterAction] = []
    for generation in generations where generation.isEmpty && (generation.phase == .draining || generation.phase == .abandoned) {
      actions.append(.gone(generation: generation.number))
    }
    generations.removeAll { $0.isEmpty && ($0.phase == .draining || $0.phase == .abandoned) }
    if isStopping, generations.isEmpty, !isFinished {
      isFinished = true
      actions.append(.finished)
    }
    return actions
  }
}
