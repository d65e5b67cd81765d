// SupervisorWorkers — what the supervisor makes of each thing that happens to a worker: ready, failed, ceased, drained, stuck, gone.

extension Supervisor {
  public mutating func ready(_ worker: WorkerID, now: Int64) -> [MasterAction] {
    guard let (index, slot) = place(of: worker), generations[index].slots[slot].phase == .starting else { return [] }
    generations[index].slots[slot].phase = .ready
    generations[index].slots[slot].isAccepting = true
    generations[index].slots[slot].readyAt = now
    switch generations[index].phase {
    case .starting:
      guard generations[index].slots.allSatisfy({ $0.phase == .ready }) else { return [] }
      generations[index].phase = .opening
      return [.open(generation: generations[index].number)]
    case .serving: return cover(index)
    case .opening, .draining, .abandoned: return []
    }
  }

  /// The worker says that it cannot serve; it is about to exit.
  public mutating func failed(_ worker: WorkerID, reason: String, now: Int64) -> [MasterAction] {
    guard let (index, slot) = place(of: worker) else { return [] }
    generations[index].slots[slot].lastWords = reason
    if generations[index].phase == .starting || generations[index].phase == .opening {
      return abandon(index, "worker \(slot): \(reason)", now) + sweep()
    }
    setKill(index, slot, now + Self.grace)
    return []
  }

  /// The worker accepts nothing any more: it was told to drain, or wants to go by itself.
  public mutating func ceased(_ worker: WorkerID, now: Int64) -> [MasterAction] {
    guard let (index, slot) = place(of: worker) else { return [] }
    generations[index].slots[slot].isAccepting = false
    var actions: [MasterAction] = []
    if generations[index].phase == .serving, generations[index].slots[slot].phase == .ready {
      generations[index].slots[slot].phase = .leaving
      setKill(index, slot, now + Int64(generations[index].terms.drain) + Self.grace)
      uncover(index, slot)
      actions += cover(index)
    }
    return actions + settle(now)
  }

  /// The worker has nothing in flight any more; it is about to exit.
  public mutating func drained(_ worker: WorkerID, now: Int64) -> [MasterAction] {
    guard let (index, slot) = place(of: worker) else { return [] }
    setKill(index, slot, now + Self.grace)
    return []
  }

  /// The worker turns no more: it is killed, and siblings serve its sockets until it is replaced.
  mutating func stuck(_ worker: WorkerID, reason: String, now: Int64) -> [MasterAction] {
    guard let (index, slot) = place(of: worker) else { return [] }
    generations[index].slots[slot].lastWords = reason
    generations[index].slots[slot].isAccepting = false
    var actions = [MasterAction.kill(worker)]
    if generations[index].phase == .serving, generations[index].slots[slot].phase == .ready {
      generations[index].slots[slot].phase = .leaving
      uncover(index, slot)
      actions += cover(index)
    }
    return actions + settle(now)
  }

  /// No process came to be for this worker.
  public mutating func spawnFailed(_ worker: WorkerID, reason: String, now: Int64) -> [MasterAction] {
    exited(worker, reason: reason, now: now)
  }

  /// The process has ended.
  public mutating func exited(_ worker: WorkerID, reason: String, now: Int64) -> [MasterAction] {
    guard let (index, slot) = place(of: worker) else { return [] }
    let old = generations[index].slots[slot]
    let reason = old.lastWords.map { "\($0) (\(reason))" } ?? reason
    generations[index].slots[slot].worker = nil
    generations[index].slots[slot].phase = .none
    generations[index].slots[slot].isAccepting = false
    generations[index].slots[slot].killAt = nil
    generations[index].slots[slot].lastWords = nil
    switch generations[index].phase {
    case .starting, .opening:
      return abandon(index, "worker \(slot) ended before it was ready: \(reason)", now) + sweep()
    case .serving:
      uncover(index, slot)
      let wasReady = old.readyAt > 0
      let delay = generations[index].slots[slot].backoff.next(readyFor: wasReady ? now - old.readyAt : 0)
      generations[index].slots[slot].readyAt = 0
      generations[index].slots[slot].restarts += 1
      var actions = [MasterAction.replacing(generation: generations[index].number, slot: slot, reason: reason, delay: delay)]
      actions += cover(index)
      if delay == 0 {
        actions.append(spawn(index, slot, now))
      } else {
        generations[index].slots[slot].respawnAt = now + delay
      }
      return actions
    case .draining, .abandoned:
      return settle(now) + sweep()
    }
  }
}
